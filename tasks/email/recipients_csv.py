"""Recipients from a CSV file, by the import's reader: the same roots, dialect, encodings and checks."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from tasks.email.errors import BadRecipients
from tasks.email.recipient import Recipient, recipient_of, refused
from tasks.imports.errors import BadSource, SourceChanged
from tasks.imports.planner import Chunk, cut, read_header
from tasks.imports.reader import careful_rows
from tasks.imports.records import FIELD_LIMIT, count_lines, spans
from tasks.imports.source import Source

CHUNK_BYTES = 1024 * 1024
"""At most so much of the file, and one record, is in memory."""
_NO_NAME = re.compile(r"\W+")

Json = Any
Numbered = Iterator[tuple[int, list[str] | str]]


def read_csv(argument: Mapping[str, Json], roots: Sequence[str | PathLike[str]]) -> Iterator[Recipient]:
    """The recipients of a file, a malformed or ragged line among them as refused.

    Raises `BadRecipients` where the file cannot be read to its end: a wrong encoding, an open quote, a change meanwhile.
    """
    path, dialect = argument["csv"], {"delimiter": argument["delimiter"], "encoding": argument["encoding"]}
    try:
        with Source(path, roots) as source:
            header = read_header(source, **dialect)
            names = variable_names(path, header.names)
            place = _address_column(path, header.names, argument["address"])
            for chunk in cut(source, header, chunk_bytes=CHUNK_BYTES, **dialect):
                data = source.read(chunk.start, chunk.end - chunk.start)
                yield from (_recipient(line, row, names, place) for line, row in _rows(data, chunk, **dialect))
    except SourceChanged:
        raise BadRecipients(
            path,
            "was changed while its recipients were read; write a new file and rename it, then start the campaign again",
        ) from None
    except BadSource as error:
        raise BadRecipients("recipients", str(error)) from None


def variable_names(path: str, header: Sequence[str]) -> list[str]:
    """The header's names as templates can use them: what is no letter, digit or ``_`` becomes ``_``.

    Raises `BadRecipients` where two come to the same name.
    """
    names = [_NO_NAME.sub("_", name.strip()) for name in header]
    twice = {name for name in names if names.count(name) > 1 and name}
    if twice:
        raise BadRecipients(path, f"two columns are called {', '.join(sorted(twice))}; rename one in the header")
    return names


def _address_column(path: str, header: Sequence[str], wanted: str) -> int:
    """Where the addresses stand; upper and lower case, and blanks around the name, make no difference."""
    found = [place for place, name in enumerate(header) if name.strip().lower() == wanted.strip().lower()]
    if len(found) != 1:
        raise BadRecipients(
            path,
            f"{'no column is' if not found else 'several columns are'} called {wanted!r}, the header has "
            f"{', '.join(header)}; name the column with the addresses: {{'csv': …, 'address': …}}",
        )
    return found[0]


def _recipient(line: int, row: list[str] | str, names: Sequence[str], place: int) -> Recipient:
    if isinstance(row, str):
        return refused(line, "", row)
    if len(row) != len(names):
        given = row[place] if place < len(row) else ""
        return refused(line, given, f"the line has {len(row)} fields, the header {len(names)}")
    if any("\0" in value for value in row):
        return refused(line, row[place].replace("\0", ""), "the line has NUL bytes")
    return recipient_of(line, row[place], dict(zip(names, row, strict=True)))


def _rows(data: bytes, chunk: Chunk, *, delimiter: str, encoding: str) -> Numbered:
    """The chunk's rows with the lines they begin in; where csv cannot read one, all of them with care."""
    csv.field_size_limit(FIELD_LIMIT)
    lines = [line.decode(encoding) for line in data.splitlines(keepends=True)]
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    found: list[tuple[int, list[str] | str]] = []
    before = 0
    try:
        for row in reader:
            if row:
                found.append((chunk.first_line + before, row))
            before = reader.line_num
    except csv.Error:
        return _careful(data, chunk, delimiter=delimiter, encoding=encoding)
    return iter(found)


def _careful(data: bytes, chunk: Chunk, *, delimiter: str, encoding: str) -> Numbered:
    """The same rows, each record read for itself; a malformed one as the reason why."""
    lines = _first_lines(data, chunk, delimiter)
    for rows, malformed in careful_rows(data, delimiter=delimiter, encoding=encoding):
        for place, row in enumerate(rows):
            yield next(lines), malformed[place].reason if place in malformed else row


def _first_lines(data: bytes, chunk: Chunk, delimiter: str) -> Iterator[int]:
    line = chunk.first_line
    for span in spans(data, delimiter):
        if not span.blank:
            yield line
        line += count_lines(data[span.start : span.end])
