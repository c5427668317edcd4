"""Texts into SQL literals for date and time columns: ISO 8601 as databases and spreadsheets write it, nothing else.

No zero dates, no fraction that the column would round away, and no offset from UTC where the column could not keep it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

from tasks.imports.errors import Unfit
from tasks.imports.target import Column

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?)?"
    r"(?:(Z)|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_TIME = re.compile(r"(-?)([0-9]{1,3}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?")
# MariaDB 11.5+ goes to 2106, all others to 2038: what lies between is the server's to say.
_TIMESTAMPS = (datetime.fromisoformat("1970-01-01 00:00:01"), datetime.fromisoformat("2106-02-07 06:28:15.999999"))


def dates(_: Column) -> tuple[Callable[[str], str], None]:
    """DATE: ``2026-11-22``."""

    def one(value: str) -> str:
        if not _DATE.fullmatch(value):
            raise Unfit("not_a_date", f"{value[:40]!r} is no date like 2026-11-22")
        return f"'{_date(value)}'"

    return one, None


def moments(column: Column) -> tuple[Callable[[str], str], Callable[[Sequence[str]], Sequence[str] | None]]:
    """DATETIME and TIMESTAMP: ``2026-11-22 10:00:00``, with ``T`` for the space, without seconds, with a fraction, with ``Z``.

    A DATETIME knows no zone and holds UTC here, so of offsets it takes ``Z`` and ``+00:00``; a TIMESTAMP is a moment and takes all.
    """

    def one(value: str) -> str:
        match = _MOMENT.fullmatch(value)
        if not match or (match[2] is None and (match[5] or match[6])):
            raise Unfit("not_a_datetime", f"{value[:40]!r} is no date and time like 2026-11-22 10:00:00")
        day = _date(match[1])
        fraction = _fraction(value, match[4], column)
        if (match[2] or "") >= "24":
            # Newer Pythons read 24:00 as the next day's midnight.
            raise Unfit("not_a_datetime", f"{value[:40]!r}: hour must be in 0..23")
        try:
            moment = datetime.fromisoformat(f"{day} {match[2] or '00:00'}:{match[3] or '00'}")
        except ValueError as error:
            raise Unfit("not_a_datetime", f"{value[:40]!r}: {error}") from None
        if match[6]:
            moment = _to_utc(value, moment, match, column)
        if column.type == "timestamp" and not _TIMESTAMPS[0] <= moment <= _TIMESTAMPS[1]:
            raise Unfit("out_of_range", f"{value[:40]!r} is outside the range of TIMESTAMP")
        return f"'{moment.isoformat(' ')}{fraction}'"

    def bulk(values: Sequence[str]) -> Sequence[str] | None:
        if column.type == "timestamp" or set(map(len, values)) != {19}:
            return None
        joined = "".join(values)
        # Of the many forms that fromisoformat takes, exactly this one: by the marks at their places.
        if {joined[4::19], joined[7::19]} != {"-" * len(values)} or {joined[13::19], joined[16::19]} != {
            ":" * len(values)
        }:
            return None
        if joined[10::19] != " " * len(values) or not joined.isascii():
            return None
        try:
            for value in values:
                datetime.fromisoformat(value)
        except ValueError:
            return None
        return ("'" + "','".join(values) + "'").split(",")

    return one, bulk


def times(column: Column) -> tuple[Callable[[str], str], None]:
    """TIME: ``10:00``, ``10:00:00``, with a fraction, up to ``838:59:59``, negative too."""

    def one(value: str) -> str:
        match = _TIME.fullmatch(value)
        if not match:
            raise Unfit("not_a_time", f"{value[:40]!r} is no time like 10:00:00")
        hours, minutes, seconds = int(match[2]), int(match[3]), int(match[4] or 0)
        fraction = _fraction(value, match[5], column)
        if (
            minutes > 59
            or seconds > 59
            or hours > 838
            or ((hours, minutes, seconds) == (838, 59, 59) and fraction.strip(".0"))
        ):
            raise Unfit("out_of_range", f"{value[:40]!r} is not between -838:59:59 and 838:59:59")
        return f"'{match[1]}{hours:02d}:{minutes:02d}:{seconds:02d}{fraction}'"

    return one, None


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise Unfit("not_a_date", f"{text!r}: {error}") from None


def _fraction(value: str, digits: str | None, column: Column) -> str:
    """``.25`` as the column keeps it, in one form only, so that equal moments are equal literals."""
    digits = (digits or "").rstrip("0")
    if len(digits) > column.fraction:
        raise Unfit("too_precise", f"{value[:40]!r}: {column.full_type} keeps {column.fraction} digits of a second")
    return f".{digits}" if digits else ""


def _to_utc(value: str, moment: datetime, match: re.Match[str], column: Column) -> datetime:
    offset = timedelta(hours=int(match[7]), minutes=int(match[8]))
    if offset and column.type != "timestamp":
        raise Unfit("time_zone", f"{value[:40]!r}: a DATETIME keeps no offset; give the time in UTC")
    if int(match[7]) > 15 or int(match[8]) > 59:
        raise Unfit("not_a_datetime", f"{value[:40]!r} has no valid offset from UTC")
    try:
        return moment - offset if match[6] == "+" else moment + offset
    except OverflowError:
        raise Unfit("out_of_range", f"{value[:40]!r} is outside the range of TIMESTAMP") from None
