"""The plan: chunks that touch, end with records, and know their lines."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.imports.errors import BadSource, SourceChanged
from tasks.imports.planner import Chunk, Header, cut, read_header
from tasks.imports.records import MAX_RECORD_BYTES
from tasks.imports.source import Pin, Source
from tests.unit.test_imports_records import BYTES, parse

FIELDS = st.text(st.sampled_from('ab,"\n\r é\u2028😀\0'), max_size=8)
ROWS = st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=30)


def plan(
    path: Path, *, chunk_bytes: int = 64, encoding: str = "utf-8", delimiter: str = ","
) -> tuple[Header, list[Chunk], Pin]:
    chunks = []
    with Source(str(path), [path.parent]) as source:
        header = read_header(source, delimiter=delimiter, encoding=encoding)
        cutting = cut(source, header, delimiter=delimiter, encoding=encoding, chunk_bytes=chunk_bytes)
        while True:
            try:
                chunks.append(next(cutting))
            except StopIteration as end:
                return header, chunks, end.value


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def fails(path: Path, **options: object) -> BadSource:
    with pytest.raises(BadSource) as raised:
        plan(path, **options)  # type: ignore[arg-type]
    return raised.value


@given(ROWS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.integers(1, 80))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_read_one_by_one_are_the_whole_file(
    tmp_path: Path, rows: list[list[str]], line_end: str, all_quoted: bool, chunk_bytes: int
) -> None:
    """For any rows and any line end, the csv module reads the chunks as it reads the file, and counts the same lines."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    writer.writerow(["x", "y"])
    writer.writerows(rows)
    data = text.getvalue().encode()
    header, chunks, pin = plan(write(tmp_path / "f.csv", data), chunk_bytes=chunk_bytes)
    assert header.names == ["x", "y"]
    assert [chunk.start for chunk in chunks] == [header.end, *(chunk.end for chunk in chunks)][: len(chunks)]
    assert (chunks[-1].end if chunks else header.end) == len(data)
    assert pin.sha256 == hashlib.sha256(data).hexdigest()
    read: list[list[str]] = []
    for chunk in chunks:
        part = data[chunk.start : chunk.end]
        assert hashlib.sha256(part).hexdigest() == chunk.sha256
        whole = csv.reader(io.StringIO(data[: chunk.start].decode(), newline=""))
        assert len(list(whole)) == 1 + len(read)
        assert whole.line_num + 1 == chunk.first_line
        read += csv.reader(io.StringIO(part.decode(), newline=""))
    assert [["x", "y"], *read] == list(csv.reader(io.StringIO(text.getvalue(), newline="")))


@given(BYTES, st.integers(1, 40))
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_cut_at_record_ends_or_refused_for_their_open_quote(
    tmp_path: Path, body: bytes, chunk_bytes: int
) -> None:
    """Nothing is cut at a guess, however irregular the quotes; only an open quote is refused, by its line."""
    data = b"x,y\n" + body
    parsed = parse(data)
    path = write(tmp_path / "f.csv", data)
    if parsed.open_at is None:
        _, chunks, _ = plan(path, chunk_bytes=chunk_bytes)
        assert {chunk.end for chunk in chunks} <= {*parsed.ends, len(data)}
        assert sum(chunk.end - chunk.start for chunk in chunks) == len(body)
    else:
        before = data[: parsed.open_at].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert fails(path, chunk_bytes=chunk_bytes).line == before.count(b"\n") + 1


def test_an_open_quote_names_the_line_it_opens_on(tmp_path: Path) -> None:
    """The rest of the file would be one value; the person who mends it needs the line."""
    error = fails(write(tmp_path / "f.csv", b'x,y\n1,2\n3,"a\nb"\n4,"open\n5,6\n'))
    assert error.line == 5
    assert "not closed before the end" in str(error)


def test_an_open_quote_is_found_without_reading_all_of_a_large_file(tmp_path: Path) -> None:
    """Memory stays bounded: beyond the longest record the quote counts as open."""
    path = write(tmp_path / "f.csv", b'x,y\n1,"open\n' + b"2,3\n" * (3 * MAX_RECORD_BYTES // 4))
    error = fails(path, chunk_bytes=1024)
    assert (error.line, "not closed within" in str(error)) == (2, True)


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_field_of_50_mb_is_refused_in_bounded_memory(tmp_path: Path, quote: bytes) -> None:
    """Quoted or not, it fails the plan by its line, and is never in memory."""
    path = tmp_path / "f.csv"
    with path.open("wb") as out:
        out.write(b"x,y\n1,2\n3," + quote)
        for _ in range(50):
            out.write(b"a" * 1024 * 1024)
        out.write(quote + b"\n4,5\n")
    tracemalloc.start()
    error = fails(path, chunk_bytes=1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.line == 3
    assert peak < 16 * MAX_RECORD_BYTES


def test_the_plan_of_a_large_file_stays_small(tmp_path: Path) -> None:
    """One chunk and one record are in memory, however long the file is."""
    path = tmp_path / "f.csv"
    with path.open("wb") as out:
        out.write(b"x,y\n")
        for _ in range(64):
            out.write(b'1,"a, b"\n' * 50_000)
    tracemalloc.start()
    _, chunks, _ = plan(path, chunk_bytes=256 * 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(chunks) > 100
    assert peak < 12 * 1024 * 1024


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    """Spreadsheets write it."""
    header, chunks, _ = plan(write(tmp_path / "f.csv", b"\xef\xbb\xbfx,y\n1,2\n"))
    assert header.names == ["x", "y"]
    assert chunks[0].start == 7


def test_blank_lines_before_the_header_are_skipped_and_counted(tmp_path: Path) -> None:
    """The first row's line number is the editor's."""
    header, chunks, _ = plan(write(tmp_path / "f.csv", b"\n\r\nx,y\n1,2\n"))
    assert header.names == ["x", "y"]
    assert chunks[0].first_line == 4


@pytest.mark.parametrize("data", [b"x,y", b"x,y\n", b"\xef\xbb\xbfx,y\r\n"])
def test_a_header_alone_is_a_plan_without_chunks(tmp_path: Path, data: bytes) -> None:
    """There is nothing to do, and that is no error."""
    assert plan(write(tmp_path / "f.csv", data))[1] == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff\xfex\0,\0y\0", "UTF-16"),
        (b"x\0,\0y\0\n\0", "NUL"),
        (b'"x\n', "not closed"),
        (b'"x"z,y\n1,2\n', "malformed"),
        (b"x,\xfc\n", "not utf-8"),
    ],
)
def test_a_file_without_a_usable_header_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    """The message says what it seems to be."""
    assert words in str(fails(write(tmp_path / "f.csv", data)))


def test_a_byte_that_is_not_in_the_encoding_names_its_line_and_a_remedy(tmp_path: Path) -> None:
    """The whole file is checked in the planning pass: no job finds it half way through."""
    error = fails(write(tmp_path / "f.csv", b"x,y\n" + b"1,2\n" * 100 + b"3,M\xfcnchen\n"))
    assert error.line == 102
    assert "cp1252" in str(error)


def test_an_encoding_that_was_named_is_checked_too(tmp_path: Path) -> None:
    """cp1252 has five holes; a byte in one of them is no character."""
    path = write(tmp_path / "f.csv", b"x,y\n1,M\xfcnchen\n")
    assert len(plan(path, encoding="cp1252")[1]) == 1
    assert fails(write(path, b"x,y\n1,\x81\n"), encoding="cp1252").line == 2


def test_utf8_that_is_called_something_else_is_refused(tmp_path: Path) -> None:
    """A byte-order mark says what the file is; taking it for cp1252 would garble every accent."""
    assert "mark of UTF-8" in str(fails(write(tmp_path / "f.csv", b"\xef\xbb\xbfx\n1\n"), encoding="cp1252"))


def test_a_file_that_grows_while_it_is_planned_is_refused(tmp_path: Path) -> None:
    """A plan of half a file would be a silent loss."""
    path = write(tmp_path / "f.csv", b"x,y\n" + b"1,2\n" * 100)
    with Source(str(path), [tmp_path]) as source:
        header = read_header(source, delimiter=",", encoding="utf-8")
        cutting = cut(source, header, delimiter=",", encoding="utf-8", chunk_bytes=64)
        next(cutting)
        os.utime(path, ns=(1, 1))
        with pytest.raises(SourceChanged, match="changed since"):
            list(cutting)
