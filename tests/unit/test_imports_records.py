"""Where records end: against a parser written down character by character, for any bytes at all."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.imports import records
from tasks.imports.records import OpenQuote, count_lines, last_record_end, open_quote, spans

BYTES = st.lists(
    st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b" ", b"\0", b"\xc3\xa9", b'","', b'"\n"'])
).map(b"".join)


class Parsed(NamedTuple):
    """Ends of the records, and where the quote stands that is open at the end, or None."""

    ends: list[int]
    open_at: int | None


def parse(data: bytes) -> Parsed:
    """RFC 4180 as the csv module reads it when it is not strict, one byte at a time."""
    ends: list[int] = []
    state, place, opened = "start of field", 0, 0
    while place < len(data):
        byte = data[place : place + 1]
        if state == "in quotes":
            if byte == b'"':
                state = "after quote"
        elif state == "after quote" and byte == b'"':
            state = "in quotes"
        elif byte in (b"\n", b"\r"):
            if data[place : place + 2] == b"\r\n":
                place += 1
            ends.append(place + 1)
            state = "start of field"
        elif byte == b",":
            state = "start of field"
        elif state == "start of field" and byte == b'"':
            state, opened = "in quotes", place
        else:
            state = "in field"
        place += 1
    return Parsed(ends, opened if state == "in quotes" else None)


@given(BYTES)
@settings(max_examples=1000)
def test_the_last_record_end_is_a_true_one(data: bytes) -> None:
    """However the quotes stand, data is cut where the parser ends a record, or nowhere."""
    parsed = parse(data)
    # A carriage return as the last byte may be half of a line end.
    sure = [end for end in parsed.ends if not (end == len(data) and data.endswith(b"\r"))]
    found = last_record_end(data, ",")
    assert found in [0, *sure]
    if b'"' not in data:
        assert found == (sure[-1] if sure else 0)


@given(BYTES)
@settings(max_examples=500)
def test_counting_quotes_says_the_same_as_the_parser_or_nothing(data: bytes) -> None:
    """The fast way answers only where the quotes are regular; then it must be right, and the last end of all."""
    fast = records._end_by_parity(data, ",")
    if fast:
        assert fast in parse(data).ends
        assert b'"' in data[fast:] or fast == records._end_by_parser(data, ",")


@given(BYTES)
@settings(max_examples=500)
def test_spans_are_the_parsers_records(data: bytes) -> None:
    """Every byte belongs to one span, in order, and each ends where the parser ends a record."""
    found = list(spans(data, ","))
    assert [span.start for span in found] == [0, *(span.end for span in found)][: len(found)]
    ends = parse(data).ends
    assert [span.end for span in found] == (ends if ends[-1:] == [len(data)] or not data else [*ends, len(data)])
    rows = list(csv.reader(io.StringIO(data.decode("latin-1"), newline="")))
    assert [span.blank for span in found] == [not row for row in rows]


@given(BYTES)
@settings(max_examples=1000)
def test_an_open_quote_is_found_with_the_line_it_stands_on(data: bytes) -> None:
    """The record it opens in, and how many line ends of that record come before it."""
    parsed = parse(data)
    found = open_quote(data, ",")
    if parsed.open_at is None:
        assert found is None
    else:
        start = max([end for end in parsed.ends if end <= parsed.open_at], default=0)
        assert found == OpenQuote(start, count_lines(data[start : parsed.open_at]))


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"", 0), (b"a", 0), (b"a\n", 1), (b"a\r\nb\r\n", 2), (b"a\rb\r", 2), (b"\n\r", 2), (b"\r\r\n", 2)],
)
def test_lines_are_counted_as_editors_count_them(data: bytes, lines: int) -> None:
    """A line ends with LF, CRLF, or a CR alone."""
    assert count_lines(data) == lines


def test_quotes_inside_an_unquoted_field_do_not_fool_the_count() -> None:
    """`5" pipe` has one quote that opens nothing; by parity alone the next line end would seem to be inside quotes."""
    data = b'1,5" pipe\n2,"a\nb"\n3,x\n4,'
    assert last_record_end(data, ",") == data.index(b"4,")
    assert [data[span.start : span.end] for span in spans(data, ",")][:2] == [b'1,5" pipe\n', b'2,"a\nb"\n']
