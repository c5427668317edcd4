"""A complete connector for an API of the usual shape: say where things stand, and what it can do.

Example, the whole of it (docs/sync-connectors.md goes through it)::

    class Items(RestConnector):
        path = "items"
        columns = {"name": "name", "price": "price"}
        updated_field = "date_modified"
        deleted_field = "deleted"
        changes = ChangedSince("modified_after")
        paging = PageNumbers(pages_header="X-Total-Pages")

    items = Items(Http("https://TOKEN@shop.example/v1"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn
from urllib.parse import urljoin

from tasks.sync.conditions import if_match, must_read_first
from tasks.sync.connector import Capabilities, Cursor, Fields, Page, Record, Write
from tasks.sync.http import Http
from tasks.sync.http_answer import Answer, check, unusable_answer
from tasks.sync.json_paths import value_at
from tasks.sync.paging import NextLinks, Paging, Seen
from tasks.sync.remote_errors import (
    BadAnswer,
    CursorExpired,
    NotFound,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    Unusable,
    VersionMoved,
)
from tasks.sync.rest_batch import Batch, send_batch
from tasks.sync.rest_changes import ChangedSince, Listing
from tasks.sync.rest_records import NoRecord, Shape, read_time
from tasks.sync.retry_after import answered_at
from tasks.sync.webhook import Webhook
from tasks.sync.write_each import write_each

MAX_PAGES = 1_000_000
"""Of one listing: more is an API that goes round in circles."""


class RestConnector:
    """One collection of a JSON API; subclasses set what differs, and override a method where the API has ideas of its own.

    Where things stand (paths as in `tasks.sync.json_paths`):

    ``path``               of the collection, below the base URL; a record is at ``path/ID``
    ``records_at``         the list of records in a page; ``record_at``: the record in an answer about one
    ``wrapped_in``         a name that a record's fields are sent under (``{"data": {…}}``); None: as they are
    ``id_field``, ``updated_field``, ``etag_field``        of a record; None: it has none
    ``deleted_field``, ``deleted_values``                  a record is deleted where the field has one of the values
    ``columns``            column of the table → field of the record; or override `to_local` and `to_remote`

    What it can do:

    ``paging``             `tasks.sync.paging`; ``changes``: how to ask for changes, None where it cannot be asked
    ``lists_deleted``      listings of changes have deleted records, flagged
    ``resolution_s``       of its time stamps
    ``conditional_writes`` it honours If-Match with the ETags that it gives
    ``update_method``      PATCH or PUT; ``update_replaces``: what is not sent is lost, so everything must be sent
    ``chosen_ids``         PUT of ``path/ID`` with ``If-None-Match: *`` makes a record
    ``idempotency_header`` it knows a create that it has seen by this header
    ``reference_field``    a field of the record, free for us, that takes the create's idempotency key, and by which a listing
                           can be filtered: a create whose answer was lost is found by it
    ``batch``              `tasks.sync.rest_batch.Batch`; ``webhook``: `tasks.sync.webhook.Webhook`
    """

    path: ClassVar[str] = ""
    records_at: ClassVar[str] = ""
    record_at: ClassVar[str] = ""
    wrapped_in: ClassVar[str | None] = None
    id_field: ClassVar[str] = "id"
    updated_field: ClassVar[str | None] = None
    etag_field: ClassVar[str | None] = None
    deleted_field: ClassVar[str | None] = None
    deleted_values: ClassVar[tuple[Any, ...]] = (True,)
    columns: ClassVar[Mapping[str, str]] = {}

    paging: ClassVar[Paging] = NextLinks()
    changes: ClassVar[ChangedSince | None] = None
    list_query: ClassVar[Mapping[str, str | int]] = {}
    lists_deleted: ClassVar[bool] = False
    resolution_s: ClassVar[float] = 1.0
    conditional_writes: ClassVar[bool] = False
    update_method: ClassVar[str] = "PATCH"
    update_replaces: ClassVar[bool] = False
    chosen_ids: ClassVar[bool] = False
    idempotency_header: ClassVar[str | None] = None
    reference_field: ClassVar[str | None] = None
    batch: ClassVar[Batch | None] = None
    webhook: Webhook | None = None

    def __init__(self, http: Http) -> None:
        self.http = http
        self.shape = Shape(
            id_field=self.id_field,
            updated_field=self.updated_field,
            deleted_field=self.deleted_field,
            deleted_values=self.deleted_values,
            etag_field=self.etag_field,
            compared=tuple(sorted(self.columns.values())) or None,
            hidden=(self.reference_field,) if self.reference_field else (),
            read_time=self.read_time,
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            tombstones=self.lists_deleted and self.changes is not None,
            filters_changes=self.changes is not None,
            conditional_writes=self.conditional_writes,
            chosen_ids=self.chosen_ids,
            idempotent_create=self.idempotency_header is not None,
            finds_created=self.reference_field is not None,
            resolution_s=self.resolution_s,
            batch_size=self.batch.size if self.batch is not None else 1,
        )

    def read_time(self, value: Any) -> datetime:
        """A time of the API, aware; raises `ValueError`."""
        return read_time(value)

    def to_local(self, fields: Fields) -> dict[str, Any]:
        """The columns that ``columns`` names; a field that is missing is None."""
        return {column: fields.get(field) for column, field in self.columns.items()}

    def to_remote(self, columns: Fields) -> dict[str, Any]:
        """The fields that ``columns`` names, of those columns that are given."""
        return {self.columns[column]: value for column, value in columns.items() if column in self.columns}

    def list_changes(self, cursor: Cursor | None, *, full: bool = False) -> Page:
        listing = Listing.of(cursor, full=full or self.changes is None)
        answer = self._ask_for_page(listing)
        content = answer.json() if answer.ok else []
        items = value_at(content, self.records_at) if answer.ok else []
        if not isinstance(items, list):
            raise unusable_answer(answer, f"there is no list of records at {self.records_at!r}")
        records, unreadable = self.shape.records(items)
        saw = listing.saw(records, answered_at=answered_at(answer.headers), resolution_s=self.resolution_s)
        following = self.paging.after(Seen(listing.page, answer, content, items))
        if following is not None and saw.pages >= MAX_PAGES:
            raise BadAnswer(f"{answer.request}: more than {MAX_PAGES} pages")
        overlap_s = self.changes.overlap_s if self.changes is not None else 0.0
        return Page(
            records,
            next_cursor=None if following is None else replace(saw, page=following).as_json(),
            resume_cursor={"since": listing.since}
            if following is not None
            else saw.resume(overlap_s=overlap_s, resolution_s=self.resolution_s),
            full=listing.since is None,
            filter_ignored=saw.ignored,
            unreadable=unreadable,
        )

    def get(self, remote_id: str) -> Record | None:
        answer = self.http.request("GET", self._url(remote_id))
        if answer.status in (404, 410):
            return None
        return self._record(check(answer))

    def create(self, fields: Fields, *, idempotency_key: str, remote_id: str | None = None) -> Record:
        headers = {self.idempotency_header: idempotency_key} if self.idempotency_header else {}
        content = self._wrapped({**fields, **self._reference(idempotency_key)})
        if remote_id is None:
            answer = self.http.request("POST", self._url(), content=content, headers=headers)
            return self._made(check(answer))
        if not self.chosen_ids:
            raise Rejected(f"{type(self).__name__} cannot choose the ids of its records; create without remote_id")
        headers["If-None-Match"] = "*"
        answer = self.http.request("PUT", self._url(remote_id), content=content, headers=headers)
        if answer.status in (409, 412):
            self._moved(answer)
        return self._made(check(answer))

    def find_created(self, idempotency_key: str) -> Record | None:
        if self.reference_field is None:
            raise NotImplementedError(f"{type(self).__name__} has no reference_field to find records by")
        answer = check(self.http.request("GET", self._url(), query={self.reference_field: idempotency_key}))
        items = value_at(answer.json(), self.records_at)
        if not isinstance(items, list):
            raise unusable_answer(answer, f"there is no list of records at {self.records_at!r}")
        mine = [
            item for item in items if isinstance(item, Mapping) and item.get(self.reference_field) == idempotency_key
        ]
        if not mine and items:
            # Were it taken for "there is none", a second record would be made.
            raise BadAnswer(f"{answer.request}: the filter by {self.reference_field} was ignored")
        return self._readable(mine[0], answer) if mine else None

    def update(self, remote_id: str, fields: Fields, *, if_version: str | None) -> Record:
        version, current = self._compared(remote_id, if_version, needed=self.update_replaces)
        whole = {**current.fields, **fields} if current is not None and self.update_replaces else fields
        answer = self.http.request(
            self.update_method, self._url(remote_id), content=self._wrapped(whole), headers=if_match(version)
        )
        if answer.status == 412 or (answer.status == 409 and if_match(version)):
            self._moved(answer)
        record = self._written(check(answer), remote_id)
        if record.deleted:
            # It took the write and kept the flag: nothing of it will be seen.
            raise NotFound(f"{answer.request}: the record is deleted", status=answer.status)
        return record

    def delete(self, remote_id: str, *, if_version: str | None) -> None:
        version, _ = self._compared(remote_id, if_version, needed=False)
        answer = self.http.request("DELETE", self._url(remote_id), headers=if_match(version))
        if answer.status == 412 or (answer.status == 409 and if_match(version)):
            self._moved(answer)
        check(answer)

    def write_many(self, writes: Sequence[Write]) -> list[Record | RemoteError | None]:
        if self.batch is None:
            return write_each(self, writes)
        return send_batch(self, self.batch, writes)

    def close(self) -> None:
        self.http.close()

    def check_version(self, remote_id: str, if_version: str | None) -> None:
        """Read and compare, where nothing else can tell.  Raises `VersionMoved`, `NotFound`."""
        self._compared(remote_id, if_version, needed=False)

    def entry(self, write: Write) -> dict[str, Any]:
        """A write's fields as an entry of a batch, without the id."""
        reference = self._reference(write.idempotency_key) if write.op == "create" and write.idempotency_key else {}
        return {**(write.fields or {}), **reference}

    def _url(self, *more: str) -> str:
        return self.http.url(*(part for part in self.path.split("/") if part), *more)

    def _wrapped(self, fields: Fields) -> Any:
        return {self.wrapped_in: fields} if self.wrapped_in else dict(fields)

    def _reference(self, idempotency_key: str) -> dict[str, str]:
        return {self.reference_field: idempotency_key} if self.reference_field else {}

    def _ask_for_page(self, listing: Listing) -> Answer:
        url, query = self.paging.ask(listing.page)
        if url is None:
            url = self._url()
            since = listing.since
            if since is not None and self.changes is not None:
                query = {**query, self.changes.param: self.changes.write_time(datetime.fromisoformat(since))}
            query = {**self.list_query, **query}
        answer = self.http.request("GET", url, query=query)
        if answer.status in (400, 404, 410, 416) and listing.page is not None:
            if self.paging.may_shrink and answer.status != 410:
                return answer
            raise CursorExpired(f"{answer.request}: {answer.status} {answer.text()}", status=answer.status)
        if answer.status in (404, 410):
            raise Unusable(f"{answer.request}: {answer.status}: there is no such collection", status=answer.status)
        return check(answer)

    def _compared(self, remote_id: str, version: str | None, *, needed: bool) -> tuple[str | None, Record | None]:
        """The version to bind the write to, and the record if it had to be read."""
        if not (needed or must_read_first(version)):
            return version, None
        current = self.get(remote_id)
        if current is None or current.deleted:
            raise NotFound(f"{type(self).__name__} {remote_id}: there is no such record")
        if version is not None and not self._same(current, version):
            raise VersionMoved(f"{type(self).__name__} {remote_id}: changed since it was seen", current=current)
        # An ETag that came with the read closes the gap between it and the write.
        return current.version, current

    def _same(self, current: Record, version: str) -> bool:
        """Whether what was just read is what ``version`` was given for, with or without an ETag."""
        return version in (current.version, self.shape.seen(current))

    def _moved(self, answer: Answer) -> NoReturn:
        raise VersionMoved(f"{answer.request}: {answer.status} {answer.text()}", status=answer.status)

    def _made(self, answer: Answer) -> Record:
        """The record that a create answered; read where the answer only says where it is."""
        location = answer.headers.get("Location")
        if answer.body or not location:
            return self._record(answer)
        try:
            return self._record(check(self.http.request("GET", urljoin(self._url(), location))))
        except RemoteError as error:
            raise OutcomeUnknown(f"{answer.request}: made, but it cannot be read: {error}") from error

    def _written(self, answer: Answer, remote_id: str) -> Record:
        """The record that an update answered; read where the answer says nothing (204)."""
        if answer.body:
            return self._record(answer)
        try:
            record = self.get(remote_id)
        except RemoteError as error:
            raise OutcomeUnknown(f"{answer.request}: done, but it cannot be read: {error}") from error
        if record is None:
            raise NotFound(f"{answer.request}: the record is gone")
        return record

    def _record(self, answer: Answer) -> Record:
        return self._readable(value_at(answer.json(), self.record_at), answer, etag=answer.headers.get("ETag"))

    def _readable(self, data: Any, answer: Answer, *, etag: str | None = None) -> Record:
        try:
            return self.shape.record(data, etag=etag if self.conditional_writes else None)
        except NoRecord as error:
            raise unusable_answer(answer, str(error)) from error
