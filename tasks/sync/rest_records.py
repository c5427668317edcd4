"""Between an API's JSON and `Record`: where the parts of a record stand, and what its times look like."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from tasks.sync.conditions import etag_version, seen_version
from tasks.sync.connector import Record, Unreadable

MAX_ORIGINAL_CHARACTERS = 10_000


class NoRecord(ValueError):
    """A piece of JSON is no record; the message says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a record looks like; see `tasks.sync.rest.RestConnector` for the parts."""

    id_field: str
    updated_field: str | None
    deleted_field: str | None
    deleted_values: tuple[Any, ...]
    etag_field: str | None
    compared: tuple[str, ...] | None
    hidden: tuple[str, ...]
    read_time: Callable[[Any], datetime]

    def record(self, data: Any, *, etag: str | None = None) -> Record:
        """The record that ``data`` is; ``etag``: of the answer that held it alone.  Raises `NoRecord`."""
        if not isinstance(data, Mapping):
            raise NoRecord(f"a record must be a JSON object, this is {_kind(data)}")
        remote_id = data.get(self.id_field)
        if isinstance(remote_id, bool) or not isinstance(remote_id, str | int) or remote_id == "":
            raise NoRecord(f"it has no id: {self.id_field} is {_kind(remote_id)}")
        updated = data.get(self.updated_field) if self.updated_field else None
        own = {self.id_field, self.updated_field, self.deleted_field, self.etag_field, *self.hidden}
        fields = {name: value for name, value in data.items() if name not in own}
        etag = etag or (data.get(self.etag_field) if self.etag_field else None)
        record = Record(
            str(remote_id),
            fields,
            deleted=self.deleted_field is not None and data.get(self.deleted_field) in self.deleted_values,
            updated_at=None if updated is None else self._time(updated),
        )
        return replace(record, version=etag_version(etag) or self.seen(record))

    def seen(self, record: Record) -> str:
        """The version of what was seen of a record, whether or not it has an ETag too."""
        fields = record.fields
        compared = fields if self.compared is None else {name: fields.get(name) for name in self.compared}
        return seen_version(compared, record.updated_at)

    def records(self, items: list[Any]) -> tuple[list[Record], list[Unreadable]]:
        """The records of a page, and the pieces of it that are none."""
        good: list[Record] = []
        bad: list[Unreadable] = []
        for item in items:
            try:
                good.append(self.record(item))
            except NoRecord as error:
                bad.append(Unreadable(str(error), json.dumps(item)[:MAX_ORIGINAL_CHARACTERS]))
        return good, bad

    def _time(self, value: Any) -> datetime:
        try:
            return self.read_time(value)
        except (ValueError, TypeError, OverflowError, OSError):
            raise NoRecord(f"{self.updated_field} is no time: {str(value)[:40]!r}") from None


def read_time(value: Any) -> datetime:
    """An ISO 8601 text (UTC, where it names no zone), or a number of seconds since 1970, or of milliseconds.

    Raises `ValueError`, or `TypeError` for what is neither.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"no time: {value!r}")
    if not isinstance(value, str):
        # 1e11 s is the year 5138; as milliseconds it is 1973.
        return datetime.fromtimestamp(value / 1000 if abs(value) >= 1e11 else value, UTC)
    at = datetime.fromisoformat(value)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
