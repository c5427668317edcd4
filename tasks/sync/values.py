"""Values as both sides can keep them: JSON, one form for each value of a column, so that equal values are equal texts.

Integers and booleans are numbers, DECIMAL is a text with all its digits (``"12.50"``), times are ISO texts in UTC.
A value that a column cannot keep exactly is refused, never rounded or cut.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import JSON, Column, Date, DateTime, Float, Integer, Numeric, String
from sqlalchemy.dialects.mysql import CHAR, TIMESTAMP
from sqlalchemy.types import TypeEngine

from tasks.sync.errors import BadTable, Unfit

Fit = Callable[[Any], Any]


# One encoder for all: json.dumps would make a new one for each value.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def dump(value: Any) -> str:
    """The one JSON text of ``value``."""
    return _encode(value)


def load(text: str | None) -> Any:
    """The value of a JSON text, None for NULL."""
    return None if text is None else json.loads(text)


def hash_of(values: Mapping[str, Any]) -> str:
    """Equal values have equal hashes."""
    return hash_of_text(dump(values))


def hash_of_text(text: str) -> str:
    """The hash of values whose one text this is."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def fitter(column: Column[Any]) -> Fit:
    """A function that brings a value from either side into the column's one form; it raises `Unfit`.

    Raises `BadTable` for types that JSON cannot carry exactly (BLOB, BIT, spatial).
    """
    name, kind = str(column.name), column.type
    fit = _by_type(name, kind)

    def checked(value: Any) -> Any:
        if value is None:
            if not column.nullable and column.server_default is None and not column.primary_key:
                raise Unfit("null", name, "is NOT NULL in the table, and the record has no value for it")
            return None
        return fit(value)

    return checked


def _by_type(name: str, kind: TypeEngine[Any]) -> Fit:
    if isinstance(kind, JSON):
        return lambda value: json.loads(value) if isinstance(value, str | bytes) else value
    if isinstance(kind, Integer):
        return lambda value: _integer(name, value, kind)
    if isinstance(kind, Float):
        return lambda value: _float(name, value)
    if isinstance(kind, Numeric):
        return lambda value: _decimal(name, value, kind.precision, kind.scale or 0)
    if isinstance(kind, DateTime | TIMESTAMP):
        digits = getattr(kind, "fsp", None) or 0
        return lambda value: _moment(name, value, digits)
    if isinstance(kind, Date):
        return lambda value: _date(name, value)
    if isinstance(kind, String):
        strip = isinstance(kind, CHAR)
        return lambda value: _text(name, value, kind.length, strip=strip)
    raise BadTable(
        f"column {name} is {kind}: the sync keeps numbers, texts, dates, date-times and JSON; map another column"
    )


_BITS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INTEGER": 32, "INT": 32, "BIGINT": 64}


def _integer(name: str, value: Any, kind: Integer) -> int:
    try:
        number = int(value) if isinstance(value, bool | int) else _whole(value)
    except (ValueError, TypeError, InvalidOperation):
        raise Unfit("not_an_integer", name, f"{str(value)[:60]!r} is not a whole number") from None
    bits = _BITS.get(type(kind).__name__.upper(), 64)
    unsigned = bool(getattr(kind, "unsigned", False))
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not low <= number <= high:
        raise Unfit("out_of_range", name, f"{number} does not fit")
    return number


def _whole(value: Any) -> int:
    number = Decimal(str(value))
    if number != number.to_integral_value():
        raise ValueError
    return int(number)


def _float(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError):
        raise Unfit("not_a_number", name, f"{str(value)[:60]!r} is not a number") from None
    if not math.isfinite(number):
        raise Unfit("not_a_number", name, "is not finite")
    return number


def _decimal(name: str, value: Any, precision: int | None, scale: int) -> str:
    try:
        number = Decimal(str(value))
        exact = number.quantize(Decimal(1).scaleb(-scale))
    except (InvalidOperation, ValueError):
        raise Unfit("not_a_number", name, f"{str(value)[:60]!r} is not a number that fits") from None
    if exact != number:
        raise Unfit("too_precise", name, f"{number} has more than {scale} digits after the point")
    if precision is not None and len(exact.as_tuple().digits) > precision:
        raise Unfit("out_of_range", name, f"{number} does not fit DECIMAL({precision},{scale})")
    return f"{exact if exact else abs(exact):f}"


def _moment(name: str, value: Any, digits: int) -> str:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise Unfit("not_a_time", name, f"{str(value)[:60]!r} is not an ISO 8601 date and time") from None
    at = at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
    unit = 10 ** (6 - digits)
    if at.microsecond % unit:
        raise Unfit("too_precise", name, f"{at.isoformat()} has more than {digits} digits of a second")
    return at.isoformat(timespec="microseconds" if digits else "seconds")


def _date(name: str, value: Any) -> str:
    try:
        return (value if isinstance(value, date) else date.fromisoformat(str(value))).isoformat()
    except ValueError:
        raise Unfit("not_a_date", name, f"{str(value)[:60]!r} is not an ISO 8601 date") from None


def _text(name: str, value: Any, length: int | None, *, strip: bool) -> str:
    if not isinstance(value, str):
        raise Unfit("not_a_text", name, f"{str(value)[:60]!r} is not a text")
    # What CHAR does not keep would come back as an edit.
    text = value.rstrip(" ") if strip else value
    if length is not None and len(text) > length:
        raise Unfit("too_long", name, f"{len(text)} characters, {length} fit")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit("bad_character", name, "has half of a surrogate pair") from None
    return text
