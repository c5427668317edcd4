"""What changed since when: the cursor of a listing, and where the next one may begin.

Nothing here looks at this machine's clock.  A cursor is a time stamp that the API itself gave to a record, less an overlap: a
record that was written in the same tick, or whose transaction was committed late, lies before the newest one that was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.sync.connector import Record
from tasks.sync.paging import State
from tasks.sync.remote_errors import CursorExpired


def iso_utc(at: datetime) -> str:
    """``2026-11-22T05:00:00``: UTC, whole seconds, rounded down."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso_z(at: datetime) -> str:
    """``2026-11-22T05:00:00Z``."""
    return iso_utc(at) + "Z"


def epoch_s(at: datetime) -> str:
    """Seconds since 1970, rounded down."""
    return str(int(at.timestamp() // 1))


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """How the API is asked for what changed since a time.

    ``param``         the query's parameter
    ``write_time``    how it takes a time: `iso_utc`, `iso_z`, `epoch_s`, or a function of your own
    ``overlap_s``     how far before the newest record seen the next listing begins, besides the resolution of the time stamps.
                      It must cover how long a transaction of the other side may take to commit; what comes twice is compared
                      and costs nothing else
    """

    param: str = "modified_after"
    write_time: Callable[[datetime], str] = iso_utc
    overlap_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing under way; as JSON it is the cursor.

    ``since``    changes since then (ISO text), None for everything; ``page``: where the paging stands
    ``top``      the newest time stamp seen so far; ``began``: the other side's clock at the first page
    ``ignored``  records older than ``since`` came: the API did not filter
    ``pages``    how many pages it has had
    """

    since: str | None = None
    page: State | None = None
    top: str | None = None
    began: str | None = None
    ignored: bool = False
    pages: int = 0

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None, *, full: bool) -> Listing:
        """The listing that a cursor stands for: one to go on with, or a new one.

        Raises `CursorExpired` for a cursor that this version of the code does not know.
        """
        if cursor is None:
            return cls()
        try:
            found = cls(**cursor)
            if found.since is not None:
                _time(found.since)
        except (TypeError, ValueError):
            raise CursorExpired(f"this is no cursor of such a listing: {str(cursor)[:100]}") from None
        return cls() if full and found.page is None else found

    def as_json(self) -> dict[str, Any]:
        """The cursor of the listing's next page."""
        return {name: getattr(self, name) for name in self.__slots__}

    def saw(self, records: Sequence[Record], *, answered_at: datetime | None, resolution_s: float) -> Listing:
        """The listing after a page with these records."""
        times = [record.updated_at for record in records if record.updated_at is not None]
        newest = max([*times, *([_time(self.top)] if self.top else [])], default=None)
        since = _time(self.since) if self.since else None
        # `write_time` may round down to whole seconds.
        older = since is not None and any(at < since - timedelta(seconds=max(resolution_s, 1.0)) for at in times)
        return Listing(
            since=self.since,
            page=self.page,
            top=newest.isoformat() if newest else None,
            began=self.began or (answered_at.isoformat() if answered_at else None),
            ignored=self.ignored or older,
            pages=self.pages + 1,
        )

    def resume(self, *, overlap_s: float, resolution_s: float) -> dict[str, Any]:
        """Where the next listing begins, now that this one is at its end.

        A time stamp from the future (somebody's wrong clock) would hide everything until then; the other side's clock, as it
        was when the listing began, is the limit.
        """
        if self.top is None:
            return {"since": self.since}
        top = min([_time(self.top), *([_time(self.began)] if self.began else [])])
        since = top - timedelta(seconds=overlap_s + resolution_s)
        # Never back: with nothing new, each listing would begin before the one that went before it.
        return {"since": max(since, _time(self.since)).isoformat() if self.since else since.isoformat()}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
