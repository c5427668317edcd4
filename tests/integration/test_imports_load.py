"""The quick way for new rows: the same rows as the careful way writes, or none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from runstate.engine import make_engine
from tasks.imports import load, writer
from tasks.imports.load import load_new_rows
from tasks.imports.rows import Rows
from tasks.imports.statement import Statement, statement
from tasks.imports.target import read_target
from tasks.imports.text_values import quoted
from tasks.imports.writer import write_rows

TABLE = (
    "CREATE TABLE t (k INT PRIMARY KEY, mail VARCHAR(20) UNIQUE, price DECIMAL(6,2), v TEXT, d DOUBLE, at DATETIME(3), "
    "e ENUM('a','b'), s SET('x','y'), y YEAR, j JSON, CHECK (price < 1000)) CHARSET=utf8mb4"
)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        connection.exec_driver_sql(TABLE)
        yield connection
        connection.rollback()
    engine.dispose()


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MIN_ROWS", 1)
    monkeypatch.setattr(writer, "FIRST_ROWS", 2)


def prepared(connection: Connection, *columns: str, mode: str = "upsert") -> Statement:
    target = read_target(connection, "t", reserved=())
    return statement(target, columns, ["k"], mode)


def everything(connection: Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM t ORDER BY k")]


def rows_of(*values: str) -> Rows:
    return Rows(values=list(values), numbers=list(range(len(values))), count=len(values))


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10) | st.text(
    st.sampled_from("'\\\n\r\t,;\"N"), max_size=10
)


@given(st.lists(st.none() | TEXTS | st.just("NULL") | st.just("\\N"), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_load_reads_the_literals_as_a_statement_does(connection: Connection, texts: list[str | None]) -> None:
    """Quotes, backslashes, line ends, NULL and the word NULL: one spelling serves both ways."""
    how = prepared(connection, "k", "v")
    literals = [f"{k},{'NULL' if text is None else quoted(text)}" for k, text in enumerate(texts)]
    connection.exec_driver_sql("DELETE FROM t")
    assert load_new_rows(connection, how, literals)
    loaded = everything(connection)
    assert [row[3] for row in loaded] == texts
    connection.exec_driver_sql("DELETE FROM t")
    assert write_rows(connection, replace(how, load=None), rows_of(*literals)).inserted == len(texts)
    assert everything(connection) == loaded


def test_every_type_goes_in_as_by_statement(connection: Connection) -> None:
    """Numbers, moments, members and documents."""
    how = prepared(connection, "k", "price", "d", "at", "e", "s", "y", "j")
    literals = [
        "1,12.30,1e-300,'2020-01-01 10:00:00.12','a','x,y',2020,'{\"a\": \"''\\\\\\\\\"}'",
        "2,-0.50,-1.7976931348623157e+308,NULL,NULL,'',0000,NULL",
        "3,007,0.1,'2020-01-01 10:00:00','b','y',1901,'[]'",
    ]
    assert load_new_rows(connection, how, literals)
    loaded = everything(connection)
    connection.exec_driver_sql("DELETE FROM t")
    write_rows(connection, replace(how, load=None), rows_of(*literals))
    assert everything(connection) == loaded


@pytest.mark.parametrize(
    ("bad", "codes"),
    [
        ("3,'m3',1.00", {}),
        ("9,'m1',1.00", {5: "other_unique_key"}),
        ("9,'m9',5000.00", {5: "check_constraint"}),
        ("9,'m9',5000000.00", {5: "server_refused"}),
    ],
)
def test_one_row_that_is_not_new_or_not_good_takes_the_whole_load_back(
    connection: Connection, bad: str, codes: dict[int, str]
) -> None:
    """A local file would leave it out with a warning; each row is counted as if there were no quick way."""
    how = prepared(connection, "k", "mail", "price")
    connection.exec_driver_sql("INSERT INTO t (k, mail, price) VALUES (3, 'm3', 1.00)")
    new = [f"{k},'m{k}',1.00" for k in (1, 2, 4, 5, 6)]
    written = write_rows(connection, how, rows_of(*new, bad))
    assert {number: problem.code for number, problem in written.problems.items()} == codes
    assert (written.inserted, written.unchanged) == (5, 0 if codes else 1)
    assert len(everything(connection)) == 6


def test_the_quick_way_is_taken_where_all_is_new(connection: Connection) -> None:
    """Or it would be of no use: two rows by statement, the others by one load."""
    how = prepared(connection, "k", "mail", mode="insert")

    def loads() -> int:
        return int(connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Com_load'").one()[1])

    before = loads()
    assert write_rows(connection, how, rows_of(*(f"{k},'m{k}'" for k in range(50)))).inserted == 50
    assert loads() == before + 1
    assert write_rows(connection, how, rows_of("1,'m1'", "2,'m2'", "3,'m3'")).problems.keys() == {0, 1, 2}
    assert loads() == before + 1


def test_a_trigger_that_refuses_a_row_is_heard(connection: Connection) -> None:
    """There the load fails, instead of leaving the row out."""
    connection.exec_driver_sql(
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN IF NEW.k = 4 THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; END"
    )
    written = write_rows(connection, prepared(connection, "k"), rows_of("1", "2", "3", "4", "5"))
    assert {number: problem.code for number, problem in written.problems.items()} == {3: "trigger"}
    assert written.inserted == 4


def test_where_it_is_not_allowed_the_statements_do_it_all(
    database_url: str, servers_admin: pymysql.connections.Connection[pymysql.cursors.Cursor]
) -> None:
    """MySQL's default is local_infile=OFF; it is asked once per connection."""
    with servers_admin.cursor() as cursor:
        cursor.execute("SET GLOBAL local_infile = 0")
    try:
        engine = make_engine(database_url)
        with engine.connect() as connection:
            connection.exec_driver_sql(TABLE)
            how = prepared(connection, "k")
            assert write_rows(connection, how, rows_of("1", "2", "3", "4")).inserted == 4
            assert connection.info["holdfast_no_load"]
            assert write_rows(connection, how, rows_of("4", "5", "6", "7")).inserted == 3
        engine.dispose()
    finally:
        with servers_admin.cursor() as cursor:
            cursor.execute("SET GLOBAL local_infile = 1")


def test_at_any_other_time_the_server_gets_no_file(connection: Connection, tmp_path: Path) -> None:
    """A server that is not ours, or no longer, must not be able to read a worker's disk."""
    assert load_new_rows(connection, prepared(connection, "k"), ["1", "2"])
    (tmp_path / "secret").write_text("7\n")
    with pytest.raises(RuntimeError, match="local_infile option is false"):
        connection.exec_driver_sql(f"LOAD DATA LOCAL INFILE '{tmp_path / 'secret'}' INTO TABLE t (k)")
    connection.invalidate()


def test_bits_are_never_loaded(connection: Connection) -> None:
    """A file holds them as bytes: the text 5 would be stored as 53."""
    connection.exec_driver_sql("CREATE TABLE b (k INT PRIMARY KEY, v BIT(8))")
    how = statement(read_target(connection, "b", reserved=()), ["k", "v"], ["k"], "upsert")
    assert how.load is None
    write_rows(connection, how, rows_of("1,5", "2,6", "3,7", "4,8"))
    assert connection.exec_driver_sql("SELECT v + 0 FROM b ORDER BY k").scalars().all() == [5, 6, 7, 8]


@pytest.fixture
def servers_admin(servers: object) -> Iterator[pymysql.connections.Connection[pymysql.cursors.Cursor]]:
    from tests.cleaning import _connect

    connection = _connect(servers)  # type: ignore[arg-type]
    yield connection
    connection.close()
