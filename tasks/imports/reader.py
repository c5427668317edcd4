"""One chunk of the file: its bytes, checked against the plan, and its rows."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from itertools import islice
from operator import methodcaller

from tasks.imports.errors import Problem, SourceChanged
from tasks.imports.planner import Chunk
from tasks.imports.records import FIELD_LIMIT, spans
from tasks.imports.source import Pin, Source

BATCH_ROWS = 1000
"""Rows that are parsed and converted together: enough to spread the cost of a call, few enough to stay in the cache."""

Batch = tuple[list[list[str]], dict[int, Problem]]
"""Rows, and by place within them the ones that csv cannot read; those stand as ``[]``."""


def read_chunk(source: Source, pin: Pin, chunk: Chunk) -> bytes:
    """The chunk's bytes, exactly as they were planned; raises `SourceChanged` if they are not."""
    data = source.read(chunk.start, chunk.end - chunk.start)
    # After the read, so that a file that is changed during it is noticed, too.
    source.check(pin)
    if hashlib.sha256(data).hexdigest() != chunk.sha256:
        raise SourceChanged(
            source.path,
            f"bytes {chunk.start} to {chunk.end} are not the planned ones, though size and time are; start a new import",
            line=chunk.first_line,
        )
    return data


def strict_rows(data: bytes, *, delimiter: str, encoding: str) -> Iterator[Batch]:
    """The rows, blank lines left out; raises `csv.Error` at the first malformed one (then use `careful_rows`)."""
    csv.field_size_limit(FIELD_LIMIT)
    # Line by line: a StringIO of the whole chunk would take four bytes a character, and is no faster.
    lines = map(methodcaller("decode", encoding), data.splitlines(keepends=True))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while rows := list(islice(reader, BATCH_ROWS)):
        if [] in rows:
            rows = [row for row in rows if row]
        yield rows, {}


def careful_rows(data: bytes, *, delimiter: str, encoding: str) -> Iterator[Batch]:
    """The same rows, each record read for itself, so that a malformed one costs itself alone."""
    records = (data[span.start : span.end].decode(encoding) for span in spans(data, delimiter) if not span.blank)
    while texts := list(islice(records, BATCH_ROWS)):
        rows: list[list[str]] = []
        malformed: dict[int, Problem] = {}
        for place, text in enumerate(texts):
            try:
                rows.append(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)))
            except csv.Error as error:
                rows.append([])
                malformed[place] = Problem(None, "malformed", f"not valid CSV: {error}")
        yield rows, malformed
