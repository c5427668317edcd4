"""Which texts fit which column, and which do not: tables of both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.imports.errors import BadTarget
from tasks.imports.values import _KINDS, converter, converters
from tests.unit.imports_tables import column, table

FITS = [
    ("tinyint(4)", "-128", "-128"),
    ("tinyint(4)", "127", "127"),
    ("tinyint(3) unsigned", "255", "255"),
    ("smallint(6)", "-32768", "-32768"),
    ("mediumint(9)", "8388607", "8388607"),
    ("int(11)", "2147483647", "2147483647"),
    ("int(11)", " 007 ", "7"),
    ("int(11)", "+5", "5"),
    ("int(11)", "12.00", "12"),
    ("int(11)", "12.", "12"),
    ("int(11)", "-0", "0"),
    ("bigint(20)", "-9223372036854775808", "-9223372036854775808"),
    ("bigint(20) unsigned", "18446744073709551615", "18446744073709551615"),
    ("tinyint(1)", "true", "1"),
    ("tinyint(1)", "FALSE", "0"),
    ("bit(3)", "7", "7"),
    ("year(4)", "2155", "2155"),
    ("year(4)", "0000", "0000"),
    ("decimal(5,2)", "123.45", "123.45"),
    ("decimal(5,2)", "-1.5", "-1.5"),
    ("decimal(5,2)", "1.5000", "1.50"),
    ("decimal(5,2)", "1e2", "100.00"),
    ("decimal(5,2)", ".5", "0.50"),
    ("decimal(5,2)", "0000999.99", "999.99"),
    ("decimal(5,2)", "-0.00", "-0.00"),
    ("decimal(5,2) unsigned", "-0", "0.00"),
    ("decimal(2,2)", "0.25", "0.25"),
    ("decimal(10,0)", "9999999999", "9999999999"),
    ("decimal(65,30)", "1" * 35 + "." + "1" * 30, "1" * 35 + "." + "1" * 30),
    ("double", "1.5", "1.5"),
    ("double", "1e-300", "1e-300"),
    ("double", "1" + "0" * 200, "1e+200"),
    ("double", "-.5", "-0.5"),
    ("double", "0e999", "0.0"),
    ("float", "3.4e38", "3.4e+38"),
    ("float(7,2)", "12345.67", "12345.67"),
    ("date", "2024-02-29", "'2024-02-29'"),
    ("datetime", "2013-01-01 05:00:00", "'2013-01-01 05:00:00'"),
    ("datetime", "2013-01-01T05:00:00Z", "'2013-01-01 05:00:00'"),
    ("datetime", "2013-01-01T05:00:00+00:00", "'2013-01-01 05:00:00'"),
    ("datetime", "2013-01-01 05:00", "'2013-01-01 05:00:00'"),
    ("datetime", "2013-01-01", "'2013-01-01 00:00:00'"),
    ("datetime", "2013-01-01 05:00:00.000", "'2013-01-01 05:00:00'"),
    ("datetime(3)", "2013-01-01 05:00:00.120", "'2013-01-01 05:00:00.12'"),
    ("datetime(6)", "2013-01-01 05:00:00.123456000", "'2013-01-01 05:00:00.123456'"),
    ("timestamp", "2013-01-01 05:00:00+02:00", "'2013-01-01 03:00:00'"),
    ("timestamp", "2013-01-01 05:00:00-0530", "'2013-01-01 10:30:00'"),
    ("time", "10:00", "'10:00:00'"),
    ("time", "-838:59:59", "'-838:59:59'"),
    ("time(2)", "1:02:03.5", "'01:02:03.5'"),
    ("varchar(3)", "äöü", "'äöü'"),
    ("varchar(3)", " a ", "' a '"),
    ("varchar(9)", "O'Neil", "'O''Neil'"),
    ("varchar(9)", "a\\b", "'a\\\\b'"),
    ("varchar(9)", "a\nb%s", "'a\nb%s'"),
    ("char(3)", "ab", "'ab'"),
    ("tinytext", "é" * 127, "'" + "é" * 127 + "'"),
    ("enum('a','b''c')", "b'c", "'b''c'"),
    ("set('a','b','c')", "c,a", "'a,c'"),
    ("set('a','b')", "", "''"),
    ("json", '{"a": [1, "x"]}', '\'{"a": [1, "x"]}\''),
    ("uuid", "123E4567-e89b-12d3-a456-426614174000", "'123e4567-e89b-12d3-a456-426614174000'"),
]

UNFIT = [
    ("tinyint(4)", "128", "out_of_range"),
    ("tinyint(3) unsigned", "-1", "out_of_range"),
    ("int(11)", "2147483648", "out_of_range"),
    ("int(11)", "9" * 59, "out_of_range"),
    ("int(11)", "9" * 5000, "not_an_integer"),
    ("int(11)", "NA", "not_an_integer"),
    ("int(11)", "1.5", "not_an_integer"),
    ("int(11)", "1e3", "not_an_integer"),
    ("int(11)", "1_000", "not_an_integer"),
    ("int(11)", "1,000", "not_an_integer"),
    ("int(11)", "٣", "not_an_integer"),
    ("int(11)", "12abc", "not_an_integer"),
    ("int(11)", "\t1", "not_an_integer"),
    ("int(11)", "", "not_an_integer"),
    ("int(11)", "true", "not_an_integer"),
    ("tinyint(1)", "yes", "not_an_integer"),
    ("bit(3)", "8", "out_of_range"),
    ("year(4)", "1900", "not_a_year"),
    ("year(4)", "13", "not_a_year"),
    ("decimal(5,2)", "1.239", "too_precise"),
    ("decimal(5,2)", "1e-9999", "too_precise"),
    ("decimal(5,2)", "1000", "out_of_range"),
    ("decimal(5,2)", "1e9999", "out_of_range"),
    ("decimal(5,2)", "999.999", "too_precise"),
    ("decimal(5,2)", "12,50", "not_a_number"),
    ("decimal(5,2)", "NaN", "not_a_number"),
    ("decimal(5,2)", "€5", "not_a_number"),
    ("decimal(5,2)", ".", "not_a_number"),
    ("decimal(5,2) unsigned", "-1", "out_of_range"),
    ("decimal(2,2)", "1.00", "out_of_range"),
    ("double", "inf", "not_a_number"),
    ("double", "nan", "not_a_number"),
    ("double", "1e999", "out_of_range"),
    ("double", "1e-999", "out_of_range"),
    ("double", "0x10", "not_a_number"),
    ("double unsigned", "-1", "out_of_range"),
    ("float", "3.5e38", "out_of_range"),
    ("float", "1e-60", "out_of_range"),
    ("float(7,2)", "1.239", "too_precise"),
    ("date", "2023-02-29", "not_a_date"),
    ("date", "0000-00-00", "not_a_date"),
    ("date", "20230101", "not_a_date"),
    ("date", "01.02.2023", "not_a_date"),
    ("date", "2023-01-01 10:00:00", "not_a_date"),
    ("datetime", "2023-01-01 24:00:00", "not_a_datetime"),
    ("datetime", "2023-01-01 10:00:60", "not_a_datetime"),
    ("datetime", "2023-13-01 10:00:00", "not_a_date"),
    ("datetime", "0000-00-00 00:00:00", "not_a_date"),
    ("datetime", "2023-01-01 10:00:00.5", "too_precise"),
    ("datetime(3)", "2023-01-01 10:00:00.1234", "too_precise"),
    ("datetime", "2023-01-01 10:00:00+02:00", "time_zone"),
    ("datetime", "2023-01-01 10", "not_a_datetime"),
    ("datetime", "2023-01-01Z", "not_a_datetime"),
    ("datetime", "2023-W01-1 10:00:00", "not_a_datetime"),
    ("timestamp", "1969-12-31 23:59:59", "out_of_range"),
    ("timestamp", "2200-01-01 00:00:00", "out_of_range"),
    ("timestamp", "2023-01-01 10:00:00+99:00", "not_a_datetime"),
    ("timestamp", "0001-01-01 00:00:00+01:00", "out_of_range"),
    ("time", "839:00:00", "out_of_range"),
    ("time", "10:60", "out_of_range"),
    ("time(1)", "838:59:59.5", "out_of_range"),
    ("time", "10", "not_a_time"),
    ("varchar(3)", "abcd", "too_long"),
    ("varchar(3)", "abc ", "too_long"),
    ("varchar(3)", "a\0b", "nul_byte"),
    ("char(3)", "ab ", "trailing_space"),
    ("tinytext", "é" * 128, "too_long"),
    ("enum('a','b')", "A", "not_a_member"),
    ("enum('a','b')", "a ", "not_a_member"),
    ("enum('a','b')", "", "not_a_member"),
    ("set('a','b')", "a,a", "not_a_member"),
    ("set('a','b')", "a,x", "not_a_member"),
    ("json", "{'a': 1}", "not_json"),
    ("json", "NaN", "not_json"),
    ("json", "[" * 100_000, "not_json"),
    ("json", '"\0"', "nul_byte"),
    ("uuid", "123e4567e89b12d3a456426614174000", "not_a_uuid"),
]


@pytest.mark.parametrize(("full_type", "text", "literal"), FITS)
def test_what_fits_becomes_the_same_value(full_type: str, text: str, literal: str) -> None:
    """The literal is the value of the text, alone or among others."""
    convert = converter(column("c", full_type), ["\\N"])
    assert convert([text]) == ([literal], {})
    literals, problems = convert([text, "\\N", text])
    assert (list(literals), problems) == ([literal, "NULL", literal], {})


@pytest.mark.parametrize(("full_type", "text", "code"), UNFIT)
def test_what_does_not_fit_is_a_problem_with_its_code(full_type: str, text: str, code: str) -> None:
    """Nothing is rounded, cut, wrapped or guessed; the reason names the place, in bounded length."""
    _, problems = converter(column("c", full_type), ["\\N"])([text, "\\N"])
    assert {place: (problem.column, problem.code) for place, problem in problems.items()} == {0: ("c", code)}
    assert 0 < len(problems[0].reason) < 300


@given(st.data())
@settings(max_examples=1500)
def test_many_values_at_once_are_converted_as_one_by_one(data: st.DataObject) -> None:
    """The fast ways for a whole column answer what the one careful way answers, value by value."""
    full_type = data.draw(st.sampled_from(sorted({full_type for full_type, *_ in FITS + UNFIT})))
    known = [text for kind, text, _ in FITS + UNFIT if kind == full_type]
    any_text = st.text(st.sampled_from("0123456789.-+: TZeE'\\aé\0"), max_size=12)
    values = data.draw(st.lists(st.sampled_from(known) | any_text | st.integers().map(str), min_size=1, max_size=5))
    one, bulk = _KINDS[column("c", full_type).type](column("c", full_type))
    if bulk is None or (fast := bulk(values)) is None:
        return
    assert len(fast) == len(values)
    for literal, value in zip(fast, values, strict=True):
        assert _same(literal, one(value))


def _same(literal: str, other: str) -> bool:
    """Whether two literals are one value; numbers may be written with more or fewer zeros."""
    if literal.startswith("'"):
        return literal == other
    return float(literal) == float(other)


@pytest.mark.parametrize(
    ("charset", "fits", "not_in_it"),
    [
        ("latin1", "äöü€ÿ\x81", "ż"),
        ("ascii", "abc", "é"),
        ("utf8mb3", "é漢", "😀"),
        ("utf8mb4", "é漢😀", None),
        ("ucs2", "漢", "😀"),
        ("cp1251", "привет", "é"),
        ("latin2", "ż", "α"),
        ("greek", "αβγ", "ż"),
    ],
)
def test_characters_are_checked_against_the_columns_own_character_set(
    charset: str, fits: str, not_in_it: str | None
) -> None:
    """MySQL would store a question mark, or stop in the middle."""
    convert = converter(column("c", "varchar(20)", charset=charset), [])
    assert convert([fits]) == ([f"'{fits}'"], {})
    if not_in_it:
        assert convert([fits, not_in_it])[1][1].code == "not_in_charset"


def test_texts_that_mean_null_are_null_where_the_column_takes_it() -> None:
    """Elsewhere they are a problem, even in a text column: what means NULL is no text."""
    nullable = converter(column("c", "int(11)"), ["", "NA"])
    assert nullable(["1", "NA", "", "2"]) == (["1", "NULL", "NULL", "2"], {})
    assert nullable(["NA", ""]) == (["NULL", "NULL"], {})
    strict = converter(column("c", "varchar(9)", nullable=False), ["", "NA"])
    literals, problems = strict(["a", "NA", "b"])
    assert (literals[0], literals[2], problems[1].code) == ("'a'", "'b'", "null")


def test_without_nulls_the_empty_text_is_a_value_like_any_other() -> None:
    """It fits a text column and no number column."""
    assert converter(column("c", "varchar(9)"), [])([""]) == (["''"], {})
    assert converter(column("c", "int(11)"), [])([""])[1][0].code == "not_an_integer"


def test_zero_in_an_auto_increment_column_is_no_zero() -> None:
    """MySQL would put the next number in its place."""
    convert = converter(column("id", "bigint(20)", auto_increment=True), [])
    assert convert(["1", "0", "00"])[1].keys() == {1, 2}


def test_a_value_that_was_converted_before_is_still_judged() -> None:
    """What converters remember of earlier batches must not hide a problem in a later one."""
    convert = converter(column("c", "date"), [])
    assert convert(["2024-01-01", "x"])[1].keys() == {1}
    assert convert(["2024-01-01"]) == (["'2024-01-01'"], {})
    assert convert(["x", "2024-01-02"])[1].keys() == {0}
    assert convert(["x"])[1].keys() == {0}


@pytest.mark.parametrize("full_type", ["blob", "varbinary(9)", "binary(16)", "point", "inet6", "vector"])
def test_types_that_text_cannot_fill_for_certain_are_refused_by_name(full_type: str) -> None:
    """A clear no at planning is better than bytes that were guessed."""
    with pytest.raises(BadTarget, match=rf"c is {full_type.split('(', maxsplit=1)[0]}"):
        converters(table(column("c", full_type)), ["c"], [""])


def test_an_unknown_character_set_is_refused() -> None:
    """What cannot be checked is not imported."""
    with pytest.raises(BadTarget, match="gb18030"):
        converters(table(column("c", "varchar(9)", charset="gb18030")), ["c"], [""])


def test_nulls_can_be_told_by_column() -> None:
    """A NOT NULL text column may hold empty texts while a number column beside it takes them for NULL."""
    target = table(column("n", "int(11)"), column("t", "varchar(9)", nullable=False))
    number, text = converters(target, ["n", "t"], {"t": []})
    assert number([""]) == (["NULL"], {})
    assert text([""]) == (["''"], {})
    with pytest.raises(BadTarget, match="nulls names x"):
        converters(target, ["n", "t"], {"x": []})


def test_a_key_takes_no_null() -> None:
    """NULL equals nothing, so an upsert could never find the row again and would insert it each time."""
    (convert,) = converters(table(column("k", "int(11)")), ["k"], [""], key=["k"])
    assert convert([""])[1][0].code == "null"
