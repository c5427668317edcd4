"""A chunk's bytes into rows and problems, in the order of their keys, and problems into rejects."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings

from tasks.imports import reader
from tasks.imports.errors import Problem
from tasks.imports.matching import Match
from tasks.imports.order import in_key_order, ordering, sort_keys_of
from tasks.imports.rejects import Reject, locate
from tasks.imports.rows import Rows, convert_chunk
from tasks.imports.target import Column
from tasks.imports.values import converters
from tests.unit.imports_tables import column, table
from tests.unit.test_imports_records import BYTES, parse

NUMBER, TEXT = column("n", "int(11)"), column("t", "varchar(5)")
TARGET = table(NUMBER, TEXT, uniques={"uq_t": ("t",), "uq_n": ("n",)})
BOTH = Match(2, (0, 1), ("n", "t"))


def converted(data: bytes, *, order_by: Sequence[str] = ("n",), match: Match = BOTH) -> Rows:
    converts = converters(TARGET, match.columns, [])
    return convert_chunk(data, match, converts, order_by, delimiter=",", encoding="utf-8")


def never(column: Column, literals: Sequence[str]) -> Sequence[bytes]:
    raise AssertionError(f"the server was asked for {literals} of {column.name}")


def codes(rows: Rows) -> dict[int, tuple[str | None, str]]:
    return {number: (problem.column, problem.code) for number, problem in rows.problems.items()}


def test_good_rows_are_literals_and_bad_ones_problems() -> None:
    """Each row is one or the other, by its place among the chunk's records; blank lines are no rows."""
    rows = converted(b"1,a\n\nx,b\n3,toolong\n4\n5,e,f\n6,g")
    assert rows.values == ["1,'a'", "6,'g'"]
    assert rows.numbers == [0, 5]
    assert rows.keys == [["1", "6"]]
    assert rows.count == 6
    assert codes(rows) == {1: ("n", "not_an_integer"), 2: ("t", "too_long"), 3: (None, "ragged"), 4: (None, "ragged")}


def test_a_row_with_several_problems_is_one_reject_that_tells_them_all() -> None:
    """So that a row is corrected in one go."""
    problem = converted(b"x,toolong\n").problems[0]
    assert (problem.column, problem.code) == ("n", "not_an_integer")
    assert "t: 7 characters" in problem.reason


def test_a_malformed_record_costs_itself_alone() -> None:
    """Its neighbours are read, the ones after it too."""
    rows = converted(b'1,a\n2,"b"c\n3,"d\ne"\n4,f"g\n')
    assert rows.values == ["1,'a'", "3,'d\ne'", "4,'f\"g'"]
    assert codes(rows) == {1: (None, "malformed")}


def test_only_mapped_columns_are_converted() -> None:
    """What is left out may hold anything."""
    rows = converted(b"junk,1,a\n", match=Match(3, (1, 2), ("n", "t")))
    assert rows.values == ["1,'a'"]


def test_a_stop_is_noticed_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause does not wait for the whole chunk."""
    monkeypatch.setattr(reader, "BATCH_ROWS", 2)
    asked = []
    data, converts = b"1,a\n" * 10, converters(TARGET, BOTH.columns, [])
    convert_chunk(data, BOTH, converts, (), delimiter=",", encoding="utf-8", between=lambda: asked.append(1))
    assert len(asked) == 5


@given(BYTES)
@settings(max_examples=500)
def test_every_record_of_any_chunk_is_a_row_or_a_problem_with_its_own_bytes(data: bytes) -> None:
    """However ragged, quoted or torn: nothing is lost, nothing counted twice, and each reject is where it says it is."""
    assume(parse(data).open_at is None)  # The planner lets no such chunk come to be.
    rows = converted(data)
    records = [row for row in csv.reader(io.StringIO(data.decode("latin-1"), newline="")) if row]
    assert rows.count == len(records)
    assert sorted([*rows.numbers, *rows.problems]) == list(range(len(records)))
    rejects = locate(data, rows.problems, start=100, first_line=7, delimiter=",")
    assert len(rejects) == len(rows.problems)
    for reject, number in zip(rejects, sorted(rows.problems), strict=True):
        begin = reject.byte_offset - 100
        assert data[begin : begin + len(reject.raw)] == reject.raw
        before = data[:begin].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert reject.line == 7 + before.count(b"\n")
        assert next(csv.reader(io.StringIO(reject.raw.decode("latin-1"), newline=""))) == records[number]


def test_rejects_know_line_offset_and_bytes() -> None:
    """Counted over quoted line ends and blank lines, without the record's own line end."""
    data = b'1,"a\r\nb"\r\n\r\nx,\xc3\xa9\r\n3,c'
    problems = {1: Problem("n", "c", "r"), 2: Problem("t", "d", "s")}
    assert locate(data, problems, start=1000, first_line=10, delimiter=",") == [
        Reject(13, 1012, problems[1], b"x,\xc3\xa9"),
        Reject(14, 1018, problems[2], b"3,c"),
    ]


def test_of_rows_with_the_same_key_the_last_in_the_file_stays() -> None:
    """The others are counted; numbers are compared as numbers, not as texts."""
    rows, superseded = in_key_order(converted(b"10,a\n9,b\n010,c\n"), [NUMBER], never, last_wins=True)
    assert (rows.values, rows.numbers, superseded) == (["9,'b'", "010,'c'"], [1, 2], 1)


def test_an_insert_keeps_rows_of_the_same_key_in_their_order() -> None:
    """The server then takes the first and refuses the others, as a reader of the file would expect."""
    rows, superseded = in_key_order(converted(b"2,a\n1,b\n2,c\n"), [NUMBER], never, last_wins=False)
    assert (rows.values, superseded) == (["1,'b'", "2,'a'", "2,'c'"], 0)


def keys(collation: str, *texts: str) -> Sequence[object]:
    of = column("t", "varchar(9)", collation=collation)
    return sort_keys_of(of, [f"'{text}'" for text in texts], never)


@pytest.mark.parametrize(
    ("collation", "one", "other", "equal"),
    [
        ("utf8mb4_general_ci", "SKU-1", "sku-1", True),
        ("utf8mb4_general_ci", "a", "a  ", True),
        ("utf8mb4_general_nopad_ci", "a", "a ", False),
        ("utf8mb4_0900_ai_ci", "A", "a", True),
        ("utf8mb4_0900_ai_ci", "a", "a ", False),
        ("utf8mb4_uca1400_ai_ci", "A", "a ", True),
        ("utf8mb4_bin", "A", "a", False),
        ("utf8mb4_bin", "a", "a ", True),
        ("utf8mb4_nopad_bin", "a", "a ", False),
        ("utf8mb4_bin", "é", "e", False),
        ("latin1_swedish_ci", "A", "a", True),
    ],
)
def test_keys_are_equal_where_the_collation_says_so(collation: str, one: str, other: str, equal: bool) -> None:
    """Case and padding as the unique index sees them; the server is not asked for what is known."""
    first, second = keys(collation, one, other)
    assert (first == second) is equal


@pytest.mark.parametrize(
    ("collation", "text"),
    [
        ("utf8mb4_general_ci", "é"),
        ("utf8mb4_spanish2_ci", "ch"),
        ("latin1_general_cs", "a"),
        ("utf8mb4_unicode_ci", "\1"),
    ],
)
def test_the_server_is_asked_where_python_cannot_know(collation: str, text: str) -> None:
    """Accents, contractions and ignored characters are the collation's business."""
    with pytest.raises(AssertionError, match="the server was asked"):
        keys(collation, text)


def test_null_sorts_before_everything() -> None:
    """Where a key only orders, NULL is a value like another."""
    assert sorted(sort_keys_of(NUMBER, ["2", "NULL", "-1"], never)) == [(False, 0), (True, -1), (True, 2)]


def test_without_a_key_rows_follow_a_unique_index_that_the_file_fills() -> None:
    """Two jobs that insert into the same index at once wait for each other in one order, and cannot deadlock."""
    assert ordering(TARGET, ["n", "t"], ["n"]) == ("n",)
    assert ordering(TARGET, ["t"], []) == ("t",)
    assert ordering(TARGET, ["x"], []) == ()
