"""Where CSV records begin and end: by counting quotes where that is provably right, else by the csv module's own word.

Everything here works on bytes.  The encodings that imports take have quotes, delimiters and line ends as single bytes of
their own, so Latin-1, which maps every byte to one character, shows the csv module the same structure at the same offsets.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""The longest record: as a statement, with everything escaped, it stays within MySQL's default packet of 16 MiB."""
FIELD_LIMIT = 256 * 1024 * 1024
"""csv's own limit on a field (128 KiB, for the whole process) would reject good rows; data is never longer than this."""

_first, _last = itemgetter(slice(0, 1)), itemgetter(slice(-1, None))


class Span(NamedTuple):
    """One record's bytes, its line end included; ``blank`` if it has no field at all (csv gives ``[]``)."""

    start: int
    end: int
    blank: bool


class OpenQuote(NamedTuple):
    """A quoted field that the data ends in: where its record starts, and how many line ends come before its quote."""

    record_start: int
    lines_before: int


def last_record_end(data: bytes, delimiter: str) -> int:
    """Just behind the last record that surely ends within ``data``, which starts with a record; 0 if none does.

    A carriage return as the very last byte is no sure end: its newline may be the next byte of the file.
    """
    by_parity = _end_by_parity(data, delimiter)
    return _end_by_parser(data, delimiter) if by_parity is None else by_parity


def open_quote(data: bytes, delimiter: str) -> OpenQuote | None:
    """The quote that is still open where ``data`` (which starts with a record) ends, or None."""
    parts = data.split(b'"')
    if len(parts) % 2 and _is_regular(parts, delimiter):
        return None
    ((start, end, fields),) = deque(_rows(data, delimiter, sentinel=True), maxlen=1)
    if start >= len(data) or end <= len(data):
        return None
    # The sentinel, a line of its own, was swallowed: the last field began before it and is still open.
    return OpenQuote(start, count_lines(data[start:]) - count_lines(fields[-1].encode("latin-1")))


def spans(data: bytes, delimiter: str) -> Iterator[Span]:
    """Every record of ``data``, which starts with a record."""
    for start, end, fields in _rows(data, delimiter):
        yield Span(start, end, not fields)


def count_lines(data: bytes) -> int:
    r"""How many line ends there are: ``\n``, ``\r\n`` and ``\r`` alone, as universal newlines count."""
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def _end_by_parity(data: bytes, delimiter: str) -> int | None:
    """The last record end as counting quotes has it, or None where the quotes do not prove it."""
    parts = data.split(b'"')
    end = len(data)
    for number in range(len(parts) - 1, -1, -1):
        start = end - len(parts[number])
        if number % 2 == 0:
            cut = _line_end(parts[number], at_end_of_data=number == len(parts) - 1)
            if cut:
                proof = [*parts[:number], parts[number][:cut]]
                return start + cut if _is_regular(proof, delimiter) else None
        end = start - 1
    return 0 if _is_regular(parts, delimiter) else None


def _is_regular(parts: Sequence[bytes], delimiter: str) -> bool:
    """Whether every quote of ``'"'.join(parts)`` opens a field, closes one, or is half of a doubled one.

    The parts with even numbers lie outside quotes.  What follows a closing quote must start with a delimiter or a line end,
    what an opening quote follows must end with one; nothing between the two is a doubled quote.  Then the csv parser, which
    looks at these places alone, goes the same way.
    """
    allowed = {b"", delimiter.encode(), b"\r", b"\n"}
    outside = parts[::2]
    before_quotes = outside[:-1] if len(parts) % 2 else outside
    return allowed.issuperset(map(_first, outside[1:])) and allowed.issuperset(map(_last, before_quotes))


def _line_end(part: bytes, *, at_end_of_data: bool) -> int:
    """Just behind the last line end of ``part``, 0 if there is none."""
    stop = len(part) - 1 if at_end_of_data and part.endswith(b"\r") else len(part)
    return max(part.rfind(b"\n", 0, stop), part.rfind(b"\r", 0, stop)) + 1


def _end_by_parser(data: bytes, delimiter: str) -> int:
    sure = len(data) - 1 if data.endswith(b"\r") else len(data)
    last = 0
    for _, end, _ in _rows(data, delimiter, sentinel=True):
        if end > sure or (end == len(data) and not data.endswith((b"\n", b"\r"))):
            break
        last = end
    return last


def _rows(data: bytes, delimiter: str, *, sentinel: bool = False) -> Iterator[tuple[int, int, list[str]]]:
    """Start, end and fields of each record; with ``sentinel``, one line more follows the data, to see what is still open."""
    csv.field_size_limit(FIELD_LIMIT)
    offset = 0

    def lines() -> Iterator[str]:
        nonlocal offset
        # bytes.splitlines knows universal newlines and no others, unlike str.splitlines.
        for line in data.splitlines(keepends=True):
            offset += len(line)
            yield line.decode("latin-1")
        if sentinel:
            offset += 1
            yield "x"

    start = 0
    # Not strict: `"a"b` is a record too, with an end; the reader rejects it, and its neighbours stay whole.
    for fields in csv.reader(lines(), delimiter=delimiter, strict=False):
        yield start, offset, fields
        start = offset
