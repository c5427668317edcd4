"""Texts into SQL literals for text columns: the same characters, or `Unfit`. Nothing is cut, trimmed or replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from uuid import UUID

from tasks.imports.errors import BadTarget, Unfit
from tasks.imports.target import Column

One = Callable[[str], str]
Bulk = Callable[[Sequence[str]], Sequence[str] | None]

UNICODE = {"utf8mb4", "utf16", "utf16le", "utf32"}
BMP_ONLY = {"utf8mb3", "utf8", "ucs2"}
# MySQL's latin1 is cp1252 with C1 controls in its five holes; see _fits_charset.
CODECS = {
    "ascii": "ascii",
    "latin1": "cp1252",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1257": "cp1257",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
}


def quoted(text: str) -> str:
    """``text`` as a SQL literal, for sessions where the backslash escapes (MySQL's default, which the writer checks)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def texts(column: Column) -> tuple[One, Bulk]:
    """CHAR and VARCHAR by characters, the TEXT types by bytes, all in their own character set."""
    in_bytes = column.type.endswith("text")
    limit = (column.octets if in_bytes else column.length) or 0
    fits_charset = _fits_charset(column)
    check_json, is_char = column.json, column.type == "char"
    # One character takes at most four bytes: below this nothing has to be encoded to know that it fits.
    safe_length = limit // 4 if in_bytes else limit

    def one(value: str) -> str:
        if "\0" in value:
            raise Unfit("nul_byte", "the value has a NUL byte")
        length = len(_encoded(value, column)) if in_bytes else len(value)
        if length > limit:
            raise Unfit(
                "too_long", f"{length} {'bytes' if in_bytes else 'characters'}, {column.full_type} takes {limit}"
            )
        if not value.isascii() and not fits_charset(value):
            raise Unfit("not_in_charset", f"{_shown(value)} has characters that {column.charset} lacks")
        if is_char and value.endswith(" "):
            raise Unfit("trailing_space", f"{_shown(value)} ends in a space, which CHAR does not keep")
        if check_json:
            _check_json(value)
        return quoted(value)

    def bulk(values: Sequence[str]) -> Sequence[str] | None:
        joined = "\0".join(values)
        if max(map(len, values)) > safe_length or joined.count("\0") != len(values) - 1:
            return None
        if not joined.isascii() and not fits_charset(joined):
            return None
        if is_char and " \0" in joined + "\0":
            return None
        if "'" in joined or "\\" in joined:
            joined = joined.replace("\\", "\\\\").replace("'", "''")
        return ("'" + joined.replace("\0", "'\0'") + "'").split("\0")

    return one, _never if check_json else bulk


def enums(column: Column) -> tuple[One, None]:
    """ENUM: one of the members, letter by letter (MySQL itself would let case and trailing spaces pass)."""
    members = {member: quoted(member) for member in column.members}

    def one(value: str) -> str:
        if value not in members:
            raise Unfit("not_a_member", f"{_shown(value)} is none of {_shown(', '.join(members), 80)}")
        return members[value]

    return one, None


def sets(column: Column) -> tuple[One, None]:
    """SET: members, each at most once, joined by commas; the empty text is the empty set."""
    members = set(column.members)

    def one(value: str) -> str:
        chosen = value.split(",") if value else []
        if not members.issuperset(chosen) or len(set(chosen)) != len(chosen):
            raise Unfit(
                "not_a_member", f"{_shown(value)} is no list of members of {_shown(', '.join(column.members), 80)}"
            )
        return quoted(",".join(member for member in column.members if member in chosen))

    return one, None


def json_documents(_: Column) -> tuple[One, None]:
    """JSON, where it is a type of its own (MySQL): a valid document."""

    def one(value: str) -> str:
        if "\0" in value:
            raise Unfit("nul_byte", "the value has a NUL byte")
        _check_json(value)
        return quoted(value)

    return one, None


def uuids(_: Column) -> tuple[One, None]:
    """UUID (MariaDB 10.7+), in its usual form."""

    def one(value: str) -> str:
        if not re.fullmatch("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
            raise Unfit("not_a_uuid", f"{_shown(value)} is no UUID like 123e4567-e89b-12d3-a456-426614174000")
        return quoted(str(UUID(value)))

    return one, None


def check_charset(table: str, column: Column) -> None:
    """Raise `BadTarget` for a character set that imports do not know."""
    if column.charset and column.charset not in UNICODE | BMP_ONLY | CODECS.keys():
        raise BadTarget(
            table,
            f"{column.name} has the character set {column.charset}, which imports do not know; leave it out, or use utf8mb4",
        )


def _fits_charset(column: Column) -> Callable[[str], bool]:
    charset = column.charset or "utf8mb4"
    if charset in UNICODE:
        return lambda _: True
    if charset in BMP_ONLY:
        return lambda text: max(text) <= "\uffff"
    codec, holes = CODECS[charset], {129, 141, 143, 144, 157} if charset == "latin1" else set()

    def fits(text: str) -> bool:
        try:
            text.translate(dict.fromkeys(holes)).encode(codec)
        except UnicodeEncodeError:
            return False
        return True

    return fits


def _encoded(value: str, column: Column) -> bytes:
    charset = column.charset or "utf8mb4"
    codec = {"ucs2": "utf-16-le", "utf16": "utf-16-le", "utf16le": "utf-16-le", "utf32": "utf-32-le"}.get(charset)
    # Where a character is missing the length does not matter: `_fits_charset` says no.
    return value.encode(codec or CODECS.get(charset, "utf-8"), errors="replace")


def _check_json(value: str) -> None:
    try:
        json.loads(value, parse_constant=_no_constant)
    except RecursionError:
        raise Unfit("not_json", "the document is nested too deeply") from None
    except ValueError as error:
        raise Unfit("not_json", f"{_shown(value)} is no JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _never(_: Sequence[str]) -> None:
    return None


def _shown(value: str, limit: int = 40) -> str:
    return repr(value if len(value) <= limit else value[: limit - 3] + "...")
