"""An API in memory that obeys the connector's protocol, for tests of what the sync does with answers; and two tables.

The protocol over HTTP is tested against real servers; here a test says what each call answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tasks.sync.connections import SyncConnection, SyncKind
from tasks.sync.connector import Capabilities, Fields, NotFound, Page, Record, RemoteError, VersionMoved, Webhook, Write
from tasks.sync.signature import GITHUB

ITEMS = (
    "CREATE TABLE items (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) NOT NULL, price DECIMAL(8,2), stock INT, "
    "mine VARCHAR(9) DEFAULT 'mine', changed_at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)) "
    "CHARSET=utf8mb4"
)
COLUMNS = ("name", "price", "stock")


@dataclass
class Api:
    """Records by id; ``before``: called with (operation, record id) before each call, and may raise its answer."""

    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            tombstones=True, conditional_writes=True, chosen_ids=True, batch_size=1, resolution_s=0.001
        )
    )
    webhook: Webhook | None = field(default_factory=lambda: Webhook(GITHUB))
    page_size: int = 1000
    records: dict[str, Record] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], object] = lambda _op, _id: None
    after: Callable[[str, str], object] = lambda _op, _id: None
    listing_hides: set[str] = field(default_factory=set)
    normalise: Callable[[dict[str, Any]], dict[str, Any]] = lambda fields: fields
    _clock: Any = field(default_factory=lambda: itertools.count(1))

    # -- what somebody else does ------------------------------------------------------------------------------------------

    def put(self, remote_id: str, **fields: Any) -> Record:
        """Write some fields of a record, or make it."""
        old = self.records.get(remote_id)
        kept = dict(old.fields) if old and not old.deleted else {}
        version = str(next(self._clock))
        record = Record(remote_id, self.normalise({**kept, **fields}), version, False, datetime.now(UTC))
        self.records[remote_id] = record
        return record

    def drop(self, remote_id: str) -> None:
        """Delete a record, leaving a tombstone."""
        self.records[remote_id] = Record(remote_id, {}, str(next(self._clock)), True, datetime.now(UTC))

    def live(self) -> dict[str, dict[str, Any]]:
        return {i: dict(r.fields) for i, r in self.records.items() if not r.deleted}

    def writes(self) -> list[tuple[str, str]]:
        return [entry for entry in self.log if entry[0] in ("create", "update", "delete")]

    # -- the protocol -----------------------------------------------------------------------------------------------------

    def _call(self, op: str, remote_id: str) -> None:
        self.log.append((op, remote_id))
        self.before(op, remote_id)

    def list_changes(self, cursor: Any | None, *, full: bool = False) -> Page:
        self._call("list", str(cursor))
        place = (
            cursor
            if isinstance(cursor, dict)
            else {"since": 0 if full else int(cursor or 0), "full": full or cursor is None}
        )
        changed = sorted(
            (
                r
                for r in self.records.values()
                if int(r.version or 0) > place["since"]
                and r.remote_id not in self.listing_hides
                and not (r.deleted and (place["full"] or not self.capabilities.tombstones))
            ),
            key=lambda r: int(r.version or 0),
        )
        page = changed[: self.page_size]
        newest = max([place["since"], *(int(r.version or 0) for r in page)])
        more = len(changed) > self.page_size
        self.after("list", str(cursor))
        everything = bool(place["full"])
        return Page(page, {"since": newest, "full": everything} if more else None, newest, full=everything)

    def get(self, remote_id: str) -> Record | None:
        self._call("get", remote_id)
        found = self.records.get(remote_id)
        return None if found is None or found.deleted else found

    def create(self, fields: Fields, *, idempotency_key: str, remote_id: str | None = None) -> Record:
        remote_id = remote_id or f"r{next(self._clock)}"
        self._call("create", remote_id)
        there = self.records.get(remote_id)
        if there is not None and not there.deleted:
            raise VersionMoved("there is one", current=there)
        made = self.put(remote_id, **fields)
        self.after("create", remote_id)
        return made

    def find_created(self, idempotency_key: str) -> Record | None:
        raise NotImplementedError

    def update(self, remote_id: str, fields: Fields, *, if_version: str | None) -> Record:
        self._call("update", remote_id)
        there = self._at(remote_id, if_version)
        made = self.put(there.remote_id, **fields)
        self.after("update", remote_id)
        return made

    def delete(self, remote_id: str, *, if_version: str | None) -> None:
        self._call("delete", remote_id)
        self.drop(self._at(remote_id, if_version).remote_id)
        self.after("delete", remote_id)

    def _at(self, remote_id: str, version: str | None) -> Record:
        there = self.records.get(remote_id)
        if there is None or there.deleted:
            raise NotFound("gone", status=404)
        if version is not None and there.version != version:
            raise VersionMoved("moved", current=there, status=412)
        return there

    def write_many(self, writes: Sequence[Write]) -> list[Record | RemoteError | None]:
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> Record | RemoteError | None:
        try:
            if write.op == "create":
                return self.create(
                    write.fields or {}, idempotency_key=write.idempotency_key or "", remote_id=write.remote_id
                )
            if write.op == "update":
                return self.update(write.remote_id or "", write.fields or {}, if_version=write.if_version)
            self.delete(write.remote_id or "", if_version=write.if_version)
        except RemoteError as error:
            return error
        return None

    def to_local(self, fields: Fields) -> dict[str, Any]:
        return dict(fields)

    def to_remote(self, columns: Fields) -> dict[str, Any]:
        return dict(columns)

    def close(self) -> None:
        pass


API = Api()
"""The one that the connection below speaks to; `fresh` makes it anew."""
KIND = SyncKind(
    name="items",
    connector=lambda _address: API,
    table="items",
    key="id",
    columns=COLUMNS,
    policy="newest",
    changed_at="changed_at",
)
CONNECTION = SyncConnection("memory", (KIND,))


def fresh(**kind: Any) -> Api:
    """An empty API, and the kind with these settings."""
    global API
    API = Api()
    object.__setattr__(CONNECTION, "kinds", (replace(KIND, **kind),))
    return API
