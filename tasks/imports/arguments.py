"""The arguments of an import, checked as far as they can be without the file and the database."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.errors import BadArguments

MODES = ("upsert", "insert")
CHUNK_BYTES = 4 * 1024 * 1024
"""About a second of one worker's time, with the server: see bench/imports_load.py."""
MAX_CHUNK_BYTES = 64 * 1024 * 1024
MAX_IDENTIFIER = 64

_SHIFTS = b"\x1b$B!!\x1b(B~{!!~}+AGE-"
"""What switches stateful encodings (ISO-2022, HZ, UTF-7) to another meaning of ASCII bytes."""

Nulls = Sequence[str] | Mapping[str, Sequence[str]]


def import_arguments(
    source: str | os.PathLike[str],
    target: str,
    *,
    key: Sequence[str] | str | None,
    mapping: Mapping[str, str | None] | None = None,
    mode: str = "upsert",
    delimiter: str = ",",
    encoding: str = "utf-8",
    nulls: Nulls = ("",),
    chunk_bytes: int = CHUNK_BYTES,
    max_rejects: int | None = None,
) -> dict[str, Any]:
    """The arguments of an import as canonical JSON; given its own result, it returns it unchanged.

    ``source``       the file; a relative path is taken from the working directory of whoever starts the import
    ``target``       the table, in the application's schema
    ``key``          the columns of the table that say which row is which: exactly those of a unique index for `upsert`;
                     for `insert` they only order the rows, and may be empty.  One name may stand alone
    ``mapping``      header of the file → column of the table, or None to leave that column of the file out; a header
                     that is not named here goes to the column of its own name
    ``mode``         `upsert`: a row whose key is there already is updated in the columns that the file has;
                     `insert`: it is a reject
    ``encoding``     UTF-8 (a byte-order mark is fine) or an 8-bit encoding such as cp1252
    ``nulls``        the texts that mean NULL; as a mapping, column → texts, the other columns keeping the empty string
    ``chunk_bytes``  about how many bytes of the file one job takes
    ``max_rejects``  the run fails once more rows than this are rejected; None: never

    Raises `BadArguments`, saying what to give instead.
    """
    path = _source(source)
    if not isinstance(target, str) or not 1 <= len(target) <= MAX_IDENTIFIER:
        raise BadArguments(
            f"target={target!r}: give the name of a table of the application's schema, without the schema"
        )
    if mode not in MODES:
        raise BadArguments(f"mode={mode!r}: give one of {', '.join(MODES)}")
    keys = _key(key)
    if mode == "upsert" and not keys:
        raise BadArguments(
            "key is empty: an upsert needs the columns of one unique index of the table, e.g. key=['sku']"
        )
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise BadArguments(
            f'delimiter={delimiter!r}: give one ASCII character that is neither ", nor a line end, nor NUL'
        )
    if not _is_count(chunk_bytes) or not 1 <= chunk_bytes <= MAX_CHUNK_BYTES:
        raise BadArguments(f"chunk_bytes={chunk_bytes!r}: give a number of bytes between 1 and {MAX_CHUNK_BYTES}")
    if max_rejects is not None and not _is_count(max_rejects):
        raise BadArguments(f"max_rejects={max_rejects!r}: give a number of rows, 0 or more, or None for no limit")
    return {
        "source": path,
        "target": target,
        "key": keys,
        "mapping": _mapping(mapping),
        "mode": mode,
        "delimiter": delimiter,
        "encoding": encoding_name(encoding),
        "nulls": _nulls(nulls),
        "chunk_bytes": chunk_bytes,
        "max_rejects": max_rejects,
    }


def encoding_name(encoding: str) -> str:
    """The codec's own name, if quotes, delimiters and line ends are single bytes of their own in it.

    UTF-16, UTF-32, the East Asian multi-byte and the stateful encodings are refused: a byte of one of their characters can
    look like a line end, and the planner cuts by bytes.
    """
    try:
        name = codecs.lookup(encoding).name
        if name in ("utf-8", "utf-8-sig"):
            return "utf-8"
        text = (bytes(range(256)) + _SHIFTS).decode(name, errors="replace")
    except (LookupError, TypeError, UnicodeError):
        raise BadArguments(
            f"encoding={encoding!r}: Python has no text encoding of that name; give e.g. utf-8 or cp1252"
        ) from None
    ascii_alone = (bytes(range(128)) + _SHIFTS).decode("ascii")
    if len(text) != 256 + len(_SHIFTS) or text[:128] + text[256:] != ascii_alone:
        raise BadArguments(
            f"encoding={encoding!r}: only UTF-8 and 8-bit encodings that contain ASCII can be cut into chunks; "
            f"convert the file first: iconv -f {encoding} -t utf-8"
        )
    return name


def _source(source: Any) -> str:
    if not isinstance(source, str | os.PathLike):
        raise BadArguments(f"source={source!r}: give the path of a file")
    path = os.fspath(source)
    if not isinstance(path, str) or not path or "\0" in path:
        raise BadArguments(f"source={path!r}: give the path of a file")
    if "://" in path:
        raise BadArguments(
            f"source={path!r}: only files can be imported, not URLs; fetch it into one of IMPORT_ROOTS first"
        )
    return os.path.abspath(path)


def _key(key: Any) -> list[str]:
    names = [key] if isinstance(key, str) else list(key or ())
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise BadArguments(
            f"key={key!r}: give the names of one or several columns of the table, each once, e.g. ['sku']"
        )
    return names


def _mapping(mapping: Any) -> dict[str, str | None] | None:
    if mapping is None:
        return None
    if not isinstance(mapping, Mapping) or not all(
        isinstance(header, str) and (column is None or (isinstance(column, str) and column))
        for header, column in mapping.items()
    ):
        raise BadArguments(f"mapping={mapping!r}: give a dict of header → column, or → None to leave that header out")
    columns = [column for column in mapping.values() if column is not None]
    twice = {column for column in columns if columns.count(column) > 1}
    if twice:
        raise BadArguments(f"mapping: two headers go to the same column {', '.join(sorted(twice))}")
    return dict(mapping)


def _nulls(nulls: Any) -> list[str] | dict[str, list[str]]:
    if isinstance(nulls, Mapping):
        return {column: _texts(texts) for column, texts in nulls.items()}
    return _texts(nulls)


def _texts(texts: Any) -> list[str]:
    found = [texts] if isinstance(texts, str) else list(texts or ())
    if not all(isinstance(text, str) for text in found):
        raise BadArguments(
            f"nulls={texts!r}: give the texts that mean NULL, e.g. ['', 'NA'], or a dict of column → texts"
        )
    return list(dict.fromkeys(found))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
