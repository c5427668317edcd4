"""A connector for Kinto (https://docs.kinto-storage.org): an API with everything that a sync can wish for.

Conditional writes whose refusal carries the current record, ids of our own choosing, tombstones, time stamps that rise with each
change of the collection, paging after the last record, batches.  Subclass it, or give it bucket, collection and columns::

    items = KintoConnector(Http("https://user:password@kinto.example/v1"), "shop", "items", {"name": "name"})
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn
from urllib.parse import parse_qs, urlsplit

from tasks.sync.conditions import if_match
from tasks.sync.connector import Capabilities, Cursor, Fields, Page, Record, Unreadable, Write
from tasks.sync.http import Http
from tasks.sync.http_answer import Answer, check, unusable_answer
from tasks.sync.json_paths import value_at
from tasks.sync.remote_errors import CursorExpired, NotFound, OutcomeUnknown, RemoteError, Unusable, VersionMoved
from tasks.sync.rest import RestConnector
from tasks.sync.rest_records import MAX_ORIGINAL_CHARACTERS, NoRecord
from tasks.sync.write_each import Outcome, in_parts, needed

_IDS = uuid.UUID("5f0c8a5e-6a2e-4f63-9a53-2f6f0f8d9f0e")
"""Namespace of the ids that are made from idempotency keys; never to be changed."""


class KintoConnector(RestConnector):
    """One collection of a Kinto server.

    ``page_size``   records a page (the server may give fewer); ``batch_size``: its ``batch_max_requests``, 25 unless configured
    ``overlap_ms``  how far before the last change seen the next listing begins: with PostgreSQL, a transaction that is
                    committed late may carry an earlier time stamp
    """

    records_at = record_at = wrapped_in = "data"
    updated_field = "last_modified"
    deleted_field = "deleted"
    lists_deleted = conditional_writes = chosen_ids = True
    resolution_s = 0.001
    page_size: ClassVar[int] = 200
    batch_size: ClassVar[int] = 25
    overlap_ms: ClassVar[int] = 5000

    def __init__(self, http: Http, bucket: str, collection: str, columns: Mapping[str, str] | None = None) -> None:
        if columns is not None:
            self.columns = columns  # type: ignore[misc]
        super().__init__(http)
        self._path = ("buckets", bucket, "collections", collection, "records")

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            tombstones=True,
            filters_changes=True,
            conditional_writes=True,
            chosen_ids=True,
            idempotent_create=True,
            finds_created=True,
            resolution_s=self.resolution_s,
            batch_size=self.batch_size,
        )

    def list_changes(self, cursor: Cursor | None, *, full: bool = False) -> Page:
        """A page, oldest change first, so that what is edited meanwhile comes again at the end.

        Raises `CursorExpired` for a token that the server does not take, and where its history begins after ``since``: the
        collection was emptied or restored.
        """
        since, token, top = _position(cursor, full=full)
        # Sorted by the time stamp alone, records of one time stamp would be missed at the edge of a page: the token holds the
        # sorted fields of the last record, and what equals them is not after it.
        query: dict[str, str | int] = {"_sort": "last_modified,id", "_limit": self.page_size}
        if since is not None:
            query["_since"] = since
        if token is not None:
            query["_token"] = token
        answer = self.http.request("GET", self._url(), query=query)
        if answer.status == 400 and cursor is not None:
            raise CursorExpired(f"{answer.request}: {answer.text()}", status=400)
        if answer.status == 404:
            raise Unusable(f"{answer.request}: {answer.status} {answer.text()}", status=answer.status)
        items = value_at(check(answer).json(), "data")
        if not isinstance(items, list):
            raise unusable_answer(answer, "there is no list of records")
        newest = (answer.headers.get("ETag") or "").strip('"')
        if since is not None and newest.isdecimal() and int(newest) < since:
            raise CursorExpired(
                f"{answer.request}: the last change is at {newest}, before {since}: the collection was emptied"
            )
        records, unreadable = self._listed(items)
        if not items and newest.isdecimal():
            top = max(top, int(newest))
        top = max([top, *(int(item["last_modified"]) for item in items if _is_stamp(item))])
        following = parse_qs(urlsplit(answer.headers.get("Next-Page", "")).query).get("_token", [None])[0]
        resume = max(top - self.overlap_ms, since or 0) if top else since
        return Page(
            records,
            next_cursor=None if following is None else {"since": since, "token": following, "top": top},
            resume_cursor={"since": resume, "token": None, "top": 0},
            full=since is None,
            unreadable=unreadable,
        )

    def create(self, fields: Fields, *, idempotency_key: str, remote_id: str | None = None) -> Record:
        """Make a record, under an id that follows from the key where none is given: a second create finds the first one's."""
        url = self._url(remote_id or id_of_key(idempotency_key))
        answer = self.http.request("PUT", url, content=self._wrapped(fields), headers={"If-None-Match": "*"})
        return self._created(answer, chosen=remote_id is not None)

    def find_created(self, idempotency_key: str) -> Record | None:
        return self.get(id_of_key(idempotency_key))

    def write_many(self, writes: Sequence[Write]) -> list[Outcome]:
        """Several writes in as few requests as the server takes; each entry has its own condition and its own answer."""
        return in_parts(writes, self.batch_size, self._batch)

    def _batch(self, writes: Sequence[Write]) -> list[Outcome]:
        requests = [self._entry_request(write) for write in writes]
        try:
            answer = check(self.http.request("POST", self.http.url("batch"), content={"requests": requests}))
            found = value_at(answer.json(), "responses")
            if not isinstance(found, list) or len(found) != len(writes):
                raise unusable_answer(answer, f"it has not one response for each of {len(writes)} requests")
        except OutcomeUnknown as error:
            return [error] * len(writes)
        except NotFound as error:
            raise Unusable(f"{error}: the server has no batches", status=error.status) from error
        return [
            self._entry_outcome(write, request, response)
            for write, request, response in zip(writes, requests, found, strict=True)
        ]

    def _entry_request(self, write: Write) -> dict[str, Any]:
        if write.op == "create":
            remote_id = write.remote_id or id_of_key(needed(write.idempotency_key, "idempotency_key", write))
        else:
            remote_id = needed(write.remote_id, "remote_id", write)
        path = self._url(remote_id)[len(self.http.base_url) :]
        headers = {"If-None-Match": "*"} if write.op == "create" else if_match(write.if_version)
        method = {"create": "PUT", "update": "PATCH", "delete": "DELETE"}[write.op]
        body = {} if write.op == "delete" else {"body": self._wrapped(write.fields or {})}
        return {"method": method, "path": path, "headers": headers, **body}

    def _entry_outcome(self, write: Write, request: Mapping[str, Any], response: Any) -> Outcome:
        status, headers = value_at(response, "status"), value_at(response, "headers")
        answer = Answer(
            f"{request['method']} {request['path']}",
            status if isinstance(status, int) else 500,
            headers if isinstance(headers, dict) else {},
            json.dumps(value_at(response, "body")).encode(),
        )
        try:
            if write.op == "create":
                return self._created(answer, chosen=write.remote_id is not None)
            if answer.status == 412:
                self._moved(answer)
            check(answer)
            return None if write.op == "delete" else self._record(answer)
        except RemoteError as error:
            return error

    def _created(self, answer: Answer, *, chosen: bool) -> Record:
        if answer.status == 412:
            existing = self._existing(answer)
            if chosen or existing is None:
                self._moved(answer)
            # The id follows from the key, so this is what an earlier create with it made.
            return existing
        return self._record(check(answer))

    def _moved(self, answer: Answer) -> NoReturn:
        raise VersionMoved(f"{answer.request}: {answer.status}", current=self._existing(answer), status=answer.status)

    def _existing(self, answer: Answer) -> Record | None:
        try:
            existing = value_at(answer.json(), "details.existing")
            return None if existing is None else self._one(existing)
        except (RemoteError, NoRecord):
            return None

    def _readable(self, data: Any, answer: Answer, *, etag: str | None = None) -> Record:  # noqa: ARG002 - see `_one`
        try:
            return self._one(data)
        except NoRecord as error:
            raise unusable_answer(answer, str(error)) from error

    def _listed(self, items: list[Any]) -> tuple[list[Record], list[Unreadable]]:
        records: list[Record] = []
        unreadable: list[Unreadable] = []
        for item in items:
            try:
                records.append(self._one(item))
            except NoRecord as error:
                unreadable.append(Unreadable(str(error), json.dumps(item)[:MAX_ORIGINAL_CHARACTERS]))
        return records, unreadable

    def _one(self, data: Any) -> Record:
        if not _is_stamp(data):
            raise NoRecord("it has no last_modified")
        # The same as the answer's ETag, which entries of lists and batches lack.
        return self.shape.record(data, etag=f'"{data["last_modified"]}"')

    def _url(self, *more: str) -> str:
        return self.http.url(*self._path, *more)


def id_of_key(idempotency_key: str) -> str:
    """The id of the record that a create with this key makes."""
    return str(uuid.uuid5(_IDS, idempotency_key))


def _position(cursor: Cursor | None, *, full: bool) -> tuple[int | None, str | None, int]:
    if cursor is None:
        return None, None, 0
    try:
        since, token, top = cursor["since"], cursor["token"], int(cursor["top"])
    except (TypeError, KeyError, ValueError):
        raise CursorExpired(f"this is no cursor of a Kinto listing: {str(cursor)[:100]}") from None
    return (None, None, 0) if full and token is None else (since, token, top)


def _is_stamp(item: Any) -> bool:
    return isinstance(item, dict) and type(item.get("last_modified")) is int
