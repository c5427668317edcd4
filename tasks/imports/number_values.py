"""Texts into SQL literals for number columns: the same number, or `Unfit`. No rounding, no wrapping, no guessing.

A number may have spaces around it, a sign and zeros in front or behind; none of these changes it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import Context, Decimal, InvalidOperation

from tasks.imports.errors import Unfit
from tasks.imports.target import Column

One = Callable[[str], str]
Bulk = Callable[[Sequence[str]], Sequence[str] | None]
"""All values of a column at once, for the plain case only: None sends every value through `One`."""

INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_INTEGER = re.compile(r" *([+-]?[0-9]{1,60})(?:\.0*)? *")
_NUMBER = re.compile(r" *([+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?) *")
_EXACT = Context(prec=1000)
_WORDS = {"true": "1", "false": "0"}


def integers(column: Column) -> tuple[One, Bulk]:
    """Integer columns, bit fields and years: whole numbers within their range."""
    low, high = _range(column)
    is_flag = column.full_type.startswith("tinyint(1)")
    safe_digits = len(str(high)) - 1

    def one(value: str) -> str:
        if is_flag and value.lower() in _WORDS:
            return _WORDS[value.lower()]
        match = _INTEGER.fullmatch(value)
        if not match:
            raise Unfit("not_an_integer", f"{_shown(value)} is no integer")
        number = int(match[1])
        if not low <= number <= high:
            raise Unfit("out_of_range", f"{_shown(value)} is not between {low} and {high} ({column.full_type})")
        if column.auto_increment and number == 0:
            # MySQL would generate the next number in its place.
            raise Unfit("zero_auto_increment", "0 in an AUTO_INCREMENT column stands for the next number, not for 0")
        return str(number)

    def bulk(values: Sequence[str]) -> Sequence[str] | None:
        digits = "".join(values)
        if not (digits.isdigit() and digits.isascii() and "" not in values and max(map(len, values)) <= safe_digits):
            return None
        return None if column.auto_increment else values

    return one, bulk


def years(_: Column) -> tuple[One, None]:
    """YEAR: four digits, 1901 to 2155, or 0000."""

    def one(value: str) -> str:
        if not re.fullmatch("[0-9]{4}", value) or not (value == "0000" or 1901 <= int(value) <= 2155):
            raise Unfit("not_a_year", f"{_shown(value)} is no year from 1901 to 2155 in four digits")
        return value

    return one, None


def decimals(column: Column) -> tuple[One, Bulk]:
    """DECIMAL(p, s): at most p - s digits in front of the point, and no digit that s places would round away."""
    scale = column.scale or 0
    whole = (column.precision or 10) - scale
    sign = "" if column.unsigned else "-?"
    fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
    plain = re.compile(rf"{sign}[0-9]{{1,{whole}}}{fraction}" if whole else rf"{sign}0{fraction}").fullmatch

    def one(value: str) -> str:
        match = _NUMBER.fullmatch(value)
        if not match:
            raise Unfit("not_a_number", f"{_shown(value)} is no number")
        return exact_decimal(value, Decimal(match[1]), whole, scale, column)

    def bulk(values: Sequence[str]) -> Sequence[str] | None:
        return values if None not in map(plain, values) else None

    return one, bulk


def exact_decimal(value: str, number: Decimal, whole: int, scale: int, column: Column) -> str:
    """``number`` in plain notation with ``scale`` places; raises `Unfit` unless that is exactly the same number."""
    if number and number.adjusted() >= whole:
        raise Unfit("out_of_range", f"{_shown(value)} does not fit {column.full_type}")
    try:
        fitted = number.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
    except InvalidOperation:
        raise Unfit("too_precise", f"{_shown(value)} has more than {scale} decimal places") from None
    if fitted != number:
        raise Unfit("too_precise", f"{_shown(value)} has more than {scale} decimal places")
    if fitted < 0 and column.unsigned:
        raise Unfit("out_of_range", f"{_shown(value)} is negative, the column is unsigned")
    return format(fitted or abs(fitted), "f")


def floats(column: Column) -> tuple[One, Bulk | None]:
    """FLOAT and DOUBLE: finite numbers, to the precision of the type; of a declared FLOAT(M,D) no digit may be lost."""
    single = column.type == "float"
    plain = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?").fullmatch
    # Declared FLOAT(M,D) rounds to D places silently.
    fixed = column.scale is not None and re.search(r"\(\d+,\d+\)", column.full_type) is not None

    def one(value: str) -> str:
        match = _NUMBER.fullmatch(value)
        if not match:
            raise Unfit("not_a_number", f"{_shown(value)} is no finite number")
        if fixed:
            exact_decimal(
                value, Decimal(match[1]), (column.precision or 0) - (column.scale or 0), column.scale or 0, column
            )
        number = float(match[1])
        try:
            stored = struct.unpack("<f", struct.pack("<f", number))[0] if single else number
        except OverflowError:
            stored = math.inf
        lost = not stored and bool(re.search("[1-9]", match[1].lower().partition("e")[0]))
        if not math.isfinite(stored) or lost or (number < 0 and column.unsigned):
            raise Unfit("out_of_range", f"{_shown(value)} does not fit {column.full_type}")
        return repr(number)

    def bulk(values: Sequence[str]) -> Sequence[str] | None:
        return values if None not in map(plain, values) else None

    return one, None if fixed or column.unsigned else bulk


def _range(column: Column) -> tuple[int, int]:
    if column.type == "bit":
        return 0, 2 ** (column.precision or 1) - 1
    bits = INTEGER_BITS[column.type]
    return (0, 2**bits - 1) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:37] + "...")
