"""What the server says of its tables, and that values come back as they stood in the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from runstate.engine import make_engine
from tasks.imports.errors import BadTarget
from tasks.imports.matching import Match
from tasks.imports.order import sort_keys_of, weights
from tasks.imports.rows import convert_chunk
from tasks.imports.statement import statement
from tasks.imports.target import UniqueIndex, read_target
from tasks.imports.values import converters
from tasks.imports.writer import write_rows
from tests.unit.imports_tables import column
from tests.unit.test_imports_values import FITS, UNFIT


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection
        connection.rollback()
        connection.exec_driver_sql("DROP VIEW IF EXISTS v")


EVERYTHING = """CREATE TABLE t (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    flag TINYINT(1) NOT NULL DEFAULT 0,
    price DECIMAL(8,2) UNSIGNED NOT NULL,
    name VARCHAR(50) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL,
    note TEXT,
    kind ENUM('a','b''c','d,e') NOT NULL DEFAULT 'a',
    at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    doc JSON,
    bits BIT(5),
    twice DECIMAL(9,2) AS (price * 2) STORED,
    lazy DECIMAL(9,2) AS (price * 3) VIRTUAL,
    UNIQUE KEY uq_name (name, flag), UNIQUE KEY uq_note (note(20)), KEY plain (at)
) ENGINE=InnoDB CHARSET=utf8mb4"""


def test_columns_are_read_as_they_are(connection: Connection) -> None:
    """Type, sign, precision, character set, members, what may be NULL, what has a default, what is generated."""
    connection.exec_driver_sql(EVERYTHING)
    target = read_target(connection, "t", reserved=())
    by_name = target.columns
    assert (by_name["id"].unsigned, by_name["id"].auto_increment, by_name["id"].required) == (True, True, False)
    assert by_name["flag"].full_type == "tinyint(1)"
    assert (by_name["price"].precision, by_name["price"].scale, by_name["price"].required) == (8, 2, True)
    assert (by_name["name"].length, by_name["name"].charset, by_name["name"].required) == (50, "latin1", True)
    assert (by_name["note"].octets, by_name["note"].nullable, by_name["note"].required) == (65535, True, False)
    assert by_name["kind"].members == ("a", "b'c", "d,e")
    assert (by_name["at"].fraction, by_name["at"].required) == (3, False)
    assert by_name["doc"].json
    assert not by_name["note"].json
    assert by_name["bits"].precision == 5
    assert [name for name, of in by_name.items() if of.generated] == ["twice", "lazy"]
    assert set(target.uniques) == {
        UniqueIndex("PRIMARY", ("id",), whole=True),
        UniqueIndex("uq_name", ("name", "flag"), whole=True),
        UniqueIndex("uq_note", ("note",), whole=False),
    }
    assert target.max_packet >= 2**20


def test_the_fingerprint_tells_an_alteration_that_matters(connection: Connection) -> None:
    """A column that the import does not fill may come and go; a shorter one that it fills must not."""
    connection.exec_driver_sql(EVERYTHING)

    def fingerprint() -> str:
        return read_target(connection, "t", reserved=()).fingerprint(["name", "price"])

    before = fingerprint()
    connection.exec_driver_sql("ALTER TABLE t ADD COLUMN more INT")
    assert fingerprint() == before
    connection.exec_driver_sql("ALTER TABLE t MODIFY price DECIMAL(7,1) UNSIGNED NOT NULL")
    altered = fingerprint()
    assert altered != before
    connection.exec_driver_sql("ALTER TABLE t DROP INDEX uq_name")
    dropped = fingerprint()
    assert dropped != altered
    connection.exec_driver_sql("ALTER TABLE t ADD COLUMN must INT NOT NULL")
    assert fingerprint() != dropped


@pytest.mark.parametrize(
    ("ddl", "name", "words"),
    [
        ("SELECT 1", "nowhere", "no such table"),
        ("SELECT 1", "runs", "belongs to Holdfast"),
        ("SELECT 1", "t` WHERE 1=1 -- ", "no such table"),
        ("CREATE TABLE m (a INT) ENGINE=MyISAM", "m", "InnoDB"),
        ("CREATE VIEW v AS SELECT 1 AS a", "v", "VIEW"),
        ("CREATE TABLE T2 (a INT)", "t2", "no such table"),
        ("CREATE TABLE other (a INT)", "other", "not on the list"),
    ],
)
def test_a_table_that_imports_may_not_or_cannot_write_is_refused(
    connection: Connection, ddl: str, name: str, words: str
) -> None:
    """Ours, other people's, and such as could not keep a transaction."""
    connection.exec_driver_sql(ddl)
    allowed = ["t", "listed"] if name == "other" else []
    with pytest.raises(BadTarget, match=words):
        read_target(connection, name, reserved={"runs", "jobs"}, allowed=allowed)


def stored(connection: Connection, full_type: str, texts: list[str]) -> tuple[list[object], dict[int, str]]:
    """What the server has after an import of ``texts`` into a column of the type, and the codes of the rejects."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS t")
    connection.exec_driver_sql(f"CREATE TABLE t (n INT PRIMARY KEY, c {full_type}) CHARSET=utf8mb4")
    target = read_target(connection, "t", reserved=())
    out = io.StringIO(newline="")
    # All quoted: the writer itself would leave a carriage return bare, and that ends a record.
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(enumerate(texts))
    how = converters(target, ["n", "c"], ["\\N"])
    match = Match(2, (0, 1), ("n", "c"))
    rows = convert_chunk(out.getvalue().encode(), match, how, ["n"], delimiter=",", encoding="utf-8")
    written = write_rows(connection, statement(target, ["n", "c"], ["n"], "upsert"), rows)
    codes = {number: problem.code for number, problem in (rows.problems | written.problems).items()}
    return [row.c for row in connection.exec_driver_sql("SELECT c FROM t ORDER BY n")], codes


TYPES = sorted({full_type for full_type, *_ in FITS})


@pytest.mark.parametrize("full_type", TYPES)
def test_what_converters_take_the_server_takes_without_a_word(connection: Connection, full_type: str) -> None:
    """And what they refuse never reaches it."""
    good = [text for kind, text, _ in FITS if kind == full_type]
    bad = [text for kind, text, code in UNFIT if kind == full_type and "\0" not in text]
    values, codes = stored(connection, full_type, good + bad)
    assert len(values) == len(good)
    assert codes == {
        len(good) + place: code for place, code in enumerate(c for k, t, c in UNFIT if k == full_type and "\0" not in t)
    }


@given(st.lists(st.text(max_size=12), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was(connection: Connection, texts: list[str]) -> None:
    """Quotes, backslashes, line ends, controls and emoji; only a NUL is refused."""
    values, codes = stored(connection, "VARCHAR(20)", texts)
    assert values == [text for text in texts if "\0" not in text]
    assert set(codes.values()) <= {"nul_byte"}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_float_comes_back_to_the_last_bit(connection: Connection, numbers: list[float]) -> None:
    """A DOUBLE holds what Python's shortest notation says."""
    values, codes = stored(connection, "DOUBLE", [repr(number) for number in numbers])
    assert (values, codes) == (numbers, {})


@given(st.lists(st.decimals(-999999, 999999, places=3), min_size=1, max_size=20), st.integers(0, 3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_decimal_comes_back_or_is_refused(connection: Connection, numbers: list[object], scale: int) -> None:
    """The server itself would round with a note that nobody reads."""
    values, codes = stored(connection, f"DECIMAL(9,{scale})", [str(number) for number in numbers])
    assert values == [number for place, number in enumerate(numbers) if place not in codes]


def test_json_is_checked_where_mariadb_calls_it_longtext(connection: Connection) -> None:
    """The reject says what is wrong with the document, not that a constraint failed."""
    document = json.dumps({"a": ["é", "'", "\\"]}, ensure_ascii=False)
    values, codes = stored(connection, "JSON", [document, "{broken", "[1]"])
    assert [json.loads(str(value)) for value in values] == [{"a": ["é", "'", "\\"]}, [1]]
    assert codes == {1: "not_json"}


@pytest.mark.parametrize(
    "collation", ["utf8mb4_unicode_ci", "utf8mb4_general_ci", "utf8mb4_spanish2_ci", "latin1_german2_ci"]
)
def test_weights_from_the_server_are_equal_where_its_unique_index_says_equal(engine: Engine, collation: str) -> None:
    """So "the last in the file wins" holds for accents and case as the application's own index sees them."""
    charset = collation.split("_", maxsplit=1)[0]
    of = column("k", "varchar(9)", charset=charset, collation=collation)
    texts = ["strasse", "straße", "STRASSE", "é", "E", "e ", "ä", "ae", "ch", "z"]
    keys = sort_keys_of(of, [f"'{text}'" for text in texts], weights(engine))
    with engine.connect() as connection:
        for left, left_key in zip(texts, keys, strict=True):
            for right, right_key in zip(texts, keys, strict=True):
                equal = connection.exec_driver_sql(
                    f"SELECT CONVERT('{left}' USING {charset}) COLLATE {collation} = CONVERT('{right}' USING {charset})"
                ).scalar()
                assert (left_key == right_key) is bool(equal), (left, right)
