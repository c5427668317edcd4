"""The plan: the file read once, in constant memory, and cut into byte ranges that end where records end."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasks.imports.errors import BadSource
from tasks.imports.records import MAX_RECORD_BYTES, count_lines, last_record_end, open_quote, spans
from tasks.imports.source import Pin, Source

BOM = b"\xef\xbb\xbf"
MAX_HEADER_BYTES = 1024 * 1024
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}


@dataclass(frozen=True, slots=True)
class Header:
    """The file's column names, and where its first row begins: byte offset and line number."""

    names: list[str]
    end: int
    next_line: int


class Chunk(NamedTuple):
    """One job's bytes: ``[start, end)``, the line number of its first byte, and the SHA-256 of the bytes."""

    start: int
    end: int
    first_line: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """The payload of one job."""
        return self._asdict()


def read_header(source: Source, *, delimiter: str, encoding: str) -> Header:
    """The header: the first record that is not a blank line; raises `BadSource` if there is none or it cannot be one."""
    data = source.read(0, MAX_HEADER_BYTES)
    start = _skip_bom(source, data, encoding)
    line = 1
    for span in spans(data[start:], delimiter):
        record = data[start:][span.start : span.end]
        if span.end == len(data) - start == MAX_HEADER_BYTES - start:
            raise BadSource(
                source.path, f"the header does not end within {MAX_HEADER_BYTES} bytes; is this a CSV file?", line=line
            )
        if not span.blank:
            names = _names(source, record, delimiter=delimiter, encoding=encoding, line=line)
            return Header(names, start + span.end, line + count_lines(record))
        line += count_lines(record)
    raise BadSource(source.path, "is empty; a CSV file starts with a header line that names its columns")


def cut(
    source: Source, header: Header, *, delimiter: str, encoding: str, chunk_bytes: int
) -> Generator[Chunk, None, Pin]:
    """The chunks of the file, in order, each of about ``chunk_bytes``; returns the pin, hash included.

    Chunks touch: every byte behind the header is in exactly one.  At most one chunk and one record are in memory.

    Raises `BadSource` where the file is not in ``encoding``, a quote is never closed, or a record is longer than
    `MAX_RECORD_BYTES`; `SourceChanged` if the file is modified meanwhile.
    """
    pin = source.pin()
    whole = hashlib.sha256(source.read(0, header.end))
    start, line, data = header.end, header.next_line, b""
    while True:
        wanted = max(chunk_bytes, 2 * len(data))
        data += source.read(start + len(data), wanted - len(data))
        final = len(data) < wanted
        end = len(data) if final else last_record_end(data, delimiter)
        if final or (end == 0 and len(data) >= max(chunk_bytes, MAX_RECORD_BYTES)):
            _check_closed(source, data, delimiter, line, final=final)
        if end:
            chunk = data[:end]
            _check_encoding(source, chunk, encoding, line)
            whole.update(chunk)
            yield Chunk(start, start + end, line, hashlib.sha256(chunk).hexdigest())
            start, line, data = start + end, line + count_lines(chunk), data[end:]
        if final:
            source.check(pin)
            return Pin(pin.size, pin.mtime_ns, whole.hexdigest())


def _check_closed(source: Source, data: bytes, delimiter: str, line: int, *, final: bool) -> None:
    """Nothing is cut at a guess: a quote that stays open would take all the rest of the file for one value."""
    found = open_quote(data, delimiter)
    if found:
        at = line + count_lines(data[: found.record_start]) + found.lines_before
        within = "before the end of the file" if final else f"within {len(data)} bytes"
        raise BadSource(
            source.path,
            f"the quote that opens here is not closed {within}; close it, or double it if it is text",
            line=at,
        )
    if not final:
        raise BadSource(
            source.path, f"a record that starts here is longer than {len(data)} bytes; shorten or remove it", line=line
        )


def _check_encoding(source: Source, chunk: bytes, encoding: str, line: int) -> None:
    if chunk.isascii():
        return
    try:
        chunk.decode(encoding)
    except UnicodeDecodeError as error:
        bad = line + count_lines(chunk[: error.start])
        remedy = "say which it is, e.g. encoding='cp1252'" if encoding == "utf-8" else "give its real encoding"
        raise BadSource(
            source.path, f"byte 0x{chunk[error.start]:02x} is not {encoding} ({error.reason}); {remedy}", line=bad
        ) from None


def _skip_bom(source: Source, data: bytes, encoding: str) -> int:
    for mark, name in _OTHER_BOMS.items():
        if data.startswith(mark):
            raise BadSource(source.path, f"is {name}; convert it first: iconv -f {name} -t utf-8")
    if not data.startswith(BOM):
        return 0
    if encoding != "utf-8":
        raise BadSource(source.path, f"starts with the mark of UTF-8, so it is not {encoding}; leave encoding at utf-8")
    return len(BOM)


def _names(source: Source, record: bytes, *, delimiter: str, encoding: str, line: int) -> list[str]:
    _check_encoding(source, record, encoding, line)
    text = record.decode(encoding)
    if "\0" in text:
        raise BadSource(source.path, "the header has NUL bytes; is this UTF-16, or no CSV file at all?", line=line)
    _check_closed(source, record, delimiter, line, final=True)
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadSource(source.path, f"the header is malformed: {error}", line=line) from None
