"""What the sync asks of the other side: a small protocol, its values, and its errors.

A connector knows one collection of one API.  It holds no state between calls but its connections, so that any worker can go
on where another stopped: where a listing stands is in its cursors.  Calls of the API come one at a time, though not always from
the same thread; ``to_local`` and ``to_remote`` may be called while one is under way.

`tasks.sync.rest.RestConnector` does most of it for the usual HTTP APIs; docs/sync-connectors.md shows how to write one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from tasks.sync.remote_errors import (
    AuthFailed,
    BadAnswer,
    CursorExpired,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    RemoteError,
    Unavailable,
    Unusable,
    VersionMoved,
)
from tasks.sync.webhook import Webhook

__all__ = [
    "AuthFailed",
    "BadAnswer",
    "Capabilities",
    "Connector",
    "Cursor",
    "CursorExpired",
    "Fields",
    "NotFound",
    "OutcomeUnknown",
    "Page",
    "RateLimited",
    "Record",
    "Rejected",
    "RemoteError",
    "Unavailable",
    "Unreadable",
    "Unusable",
    "VersionMoved",
    "Webhook",
    "Write",
]

Fields = Mapping[str, Any]
"""A record's or a row's values by name, as JSON has them."""
Cursor = Any
"""Opaque JSON, small enough for a row."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the other side, as it was at one moment.

    ``fields``      what the API calls its data, in the API's own names, without id, version, time stamp and deletion flag
    ``version``     what ``if_version`` takes: an ETag, or a digest of the content where the API has none; None only for a
                    tombstone
    ``deleted``     it is gone: a tombstone, or a record that the API flags as deleted; ``fields`` may be empty then
    ``updated_at``  aware UTC, by the other side's clock; None where the API does not say
    """

    remote_id: str
    fields: Fields
    version: str | None = None
    deleted: bool = False
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A piece of a page that is no record (no id, an impossible time): ``reason`` in a sentence, ``original`` as JSON, capped."""

    reason: str
    original: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    ``next_cursor``     the listing's next page; None: this was the last
    ``resume_cursor``   where a new listing may begin once this page is applied, with the overlap already taken off.  On the
                        last page it is what to keep for the next run; before that, what to fall back to if ``next_cursor``
                        expires (`CursorExpired`): the listing's own beginning, or later where the order allows
    ``full``            the listing was asked for everything, not for changes.  What was on none of its pages may be gone, or
                        may have been edited meanwhile and so have moved behind what was already read: ask `Connector.get`
                        before anything is deleted for its absence
    ``filter_ignored``  the API was asked for changes and sent older records too: everything must be compared, and nothing
                        may be concluded from what is missing
    ``unreadable``      pieces of the page that are no records; the others of the page are good.  While there are any, nothing
                        may be concluded from what is missing either: a piece without an id may be any record
    """

    records: Sequence[Record]
    next_cursor: Cursor | None
    resume_cursor: Cursor
    full: bool = False
    filter_ignored: bool = False
    unreadable: Sequence[Unreadable] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the API can do, so that the sync knows what it has to do itself.

    ``tombstones``          a listing of changes tells of deletes; else only a full listing shows what is missing
    ``filters_changes``     it can list what changed since a cursor; else each listing is full
    ``conditional_writes``  it compares the version itself (If-Match).  Else update and delete read, compare and write: an edit
                            made between the read and the write is lost, and nobody can tell
    ``chosen_ids``          ``create(remote_id=…)`` makes the record under this id and refuses to make it twice (`VersionMoved`)
    ``idempotent_create``   a second create with the same idempotency key returns the first one's record
    ``finds_created``       ``find_created`` finds what a create made whose answer was lost
    ``resolution_s``        the finest difference that its time stamps show
    ``batch_size``          how many writes ``write_many`` sends in one request; 1: it has no batches
    """

    tombstones: bool = False
    filters_changes: bool = True
    conditional_writes: bool = False
    chosen_ids: bool = False
    idempotent_create: bool = False
    finds_created: bool = False
    resolution_s: float = 1.0
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a batch; its parts are the arguments of the method that ``op`` names."""

    op: Literal["create", "update", "delete"]
    remote_id: str | None = None
    fields: Fields | None = None
    if_version: str | None = None
    idempotency_key: str | None = None


class Connector(Protocol):
    """One collection of one API.  Every method may raise any `RemoteError`; those that mean something special are named.

    Example: ``page = connector.list_changes(None, full=True)``, then ``list_changes(page.next_cursor)`` until it is None;
    keep the last page's ``resume_cursor`` and begin with it the next time.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def webhook(self) -> Webhook | None:
        """How this API's webhooks are signed and read; None where it sends none."""

    def list_changes(self, cursor: Cursor | None, *, full: bool = False) -> Page:
        """One page, oldest change first where the API can: of what changed since ``cursor``, or of everything.

        ``cursor``: None for the very first listing (which is full), a ``resume_cursor`` to begin, a ``next_cursor`` to go on.
        ``full=True``: everything; a ``resume_cursor`` then only says that this is not the first listing.  A ``next_cursor``
        knows which kind of listing it belongs to, whatever ``full`` says.  A record may come on several pages.
        Raises `CursorExpired`.
        """

    def get(self, remote_id: str) -> Record | None:
        """The record as it is now; None where there is none.  What the API flags as deleted comes with ``deleted``."""

    def create(self, fields: Fields, *, idempotency_key: str, remote_id: str | None = None) -> Record:
        """Make a record.  Raises `VersionMoved` (with the record) where ``remote_id`` is taken, `OutcomeUnknown`, `Rejected`."""

    def find_created(self, idempotency_key: str) -> Record | None:
        """What ``create`` with this key made, or None; raises `NotImplementedError` without ``capabilities.finds_created``."""

    def update(self, remote_id: str, fields: Fields, *, if_version: str | None) -> Record:
        """Write these fields, the others stay; only if the record is at ``if_version`` (None: whatever it is at).

        Returns the record as it is after the write.  Raises `VersionMoved`, `NotFound`, `OutcomeUnknown`, `Rejected`.
        """

    def delete(self, remote_id: str, *, if_version: str | None) -> None:
        """Delete the record, only if it is at ``if_version`` (None: whatever it is at).

        Raises `VersionMoved`, `NotFound` (it is gone already), `OutcomeUnknown`, `Rejected`.
        """

    def write_many(self, writes: Sequence[Write]) -> list[Record | RemoteError | None]:
        """Do several writes, in one request where the API has batches: what became of each, in their order.

        A `Record` for a create or an update, None for a delete, or the error that the single call would have raised.  Raises
        only what concerns the request as a whole (`RateLimited`, `Unavailable`, `AuthFailed`: then nothing was done).
        """

    def to_local(self, fields: Fields) -> dict[str, Any]:
        """A record's fields as columns of the table.  Raises `ValueError` for a record that does not fit."""

    def to_remote(self, columns: Fields) -> dict[str, Any]:
        """Columns of a row as the record's fields; it may get only some of the columns.  Raises `ValueError`."""

    def close(self) -> None:
        """Close the connections."""
