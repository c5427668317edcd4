"""What the server does with the rows, and that every one of them is counted as what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from runstate.engine import make_engine
from tasks.imports.errors import BadTarget, ServerChangedValues
from tasks.imports.rows import Rows
from tasks.imports.statement import Statement, statement
from tasks.imports.target import read_target
from tasks.imports.values import NULL
from tasks.imports.writer import Written, write_rows


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = make_engine(database_url)
    with engine.connect() as connection:
        yield connection
        connection.rollback()
    engine.dispose()


def create(connection: Connection, *ddl: str) -> None:
    for one in ddl:
        connection.exec_driver_sql(one, execution_options={"no_parameters": True})


def prepared(
    connection: Connection, columns: str, *, key: str = "", mode: str = "upsert", name: str = "t"
) -> Statement:
    target = read_target(connection, name, reserved=())
    return statement(target, columns.split(), key.split(), mode)


def write(connection: Connection, how: Statement, *rows: str) -> Written:
    return write_rows(connection, how, Rows(values=list(rows), numbers=list(range(len(rows))), count=len(rows)))


def counts(written: Written) -> tuple[int, int, int, int]:
    return written.inserted, written.updated, written.unchanged, len(written.problems)


def everything(connection: Connection, query: str = "SELECT k, v FROM t ORDER BY k") -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(query, execution_options={"no_parameters": True})]


@given(
    st.dictionaries(st.integers(0, 9), st.sampled_from(["a", "b", None]), max_size=10),
    st.dictionaries(st.integers(0, 9), st.sampled_from(["a", "b", None]), min_size=1, max_size=10),
    st.integers(1, 60),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mix_of_new_changed_and_equal_rows_is_counted_exactly(
    connection: Connection, before: dict[int, str | None], rows: dict[int, str | None], max_bytes: int
) -> None:
    """Whatever was there and however the statements are cut, single rows included."""
    create(
        connection,
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(9), w INT NOT NULL DEFAULT 5)",
    )
    for k, v in before.items():
        connection.exec_driver_sql("INSERT INTO t (k, v) VALUES (%s, %s)", (k, v))
    how = prepared(connection, "k v", key="k")
    how = replace(how, max_bytes=max_bytes)
    written = write(connection, how, *(f"{k},{NULL if v is None else repr(v)}" for k, v in sorted(rows.items())))
    changed = [k for k in rows if k in before and before[k] != rows[k]]
    new = [k for k in rows if k not in before]
    assert counts(written) == (len(new), len(changed), len(rows) - len(new) - len(changed), 0)
    assert everything(connection) == sorted((before | rows).items())


def test_columns_that_the_file_lacks_stay_and_times_of_change_move_only_with_a_change(connection: Connection) -> None:
    """An unchanged row is not touched: ON UPDATE CURRENT_TIMESTAMP would tell."""
    create(
        connection,
        "CREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL UNIQUE, v VARCHAR(9), mine VARCHAR(9), "
        "at TIMESTAMP(6) NOT NULL DEFAULT '2001-01-01' ON UPDATE CURRENT_TIMESTAMP(6))",
        "INSERT INTO t (k, v, mine) VALUES (1, 'a', 'keep'), (2, 'b', 'keep')",
    )
    how = prepared(connection, "k v", key="k")
    assert how.guarded is None
    assert counts(write(connection, how, "1,'a'", "2,'c'")) == (0, 1, 1, 0)
    assert counts(write(connection, how, "1,'a'")) == (0, 0, 1, 0)
    rows = everything(connection, "SELECT k, v, mine, at = '2001-01-01' FROM t ORDER BY k")
    assert rows == [(1, "a", "keep", 1), (2, "c", "keep", 0)]


def test_a_file_of_keys_alone_inserts_what_is_missing(connection: Connection) -> None:
    """There is nothing to update, and the rows that are there count as unchanged."""
    create(connection, "CREATE TABLE t (k INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    how = prepared(connection, "k", key="k")
    assert counts(write(connection, how, "1", "2")) == (1, 0, 1, 0)
    assert counts(write(connection, how, "2")) == (0, 0, 1, 0)
    assert counts(write(connection, how, "3")) == (1, 0, 0, 0)


@pytest.mark.parametrize("bad", [{7}, {0}, {99}, {3, 50, 51}, set(range(100)), set(range(0, 100, 2))])
def test_bad_rows_are_found_among_good_ones(connection: Connection, bad: set[int]) -> None:
    """Few or many or all: each bad one is a problem with the server's words, each good one is written."""
    create(
        connection,
        "CREATE TABLE parents (id INT PRIMARY KEY) ENGINE=InnoDB",
        "CREATE TABLE t (k INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES parents (id)) ENGINE=InnoDB",
        "INSERT INTO parents VALUES (1)",
    )
    how = prepared(connection, "k v", key="k")
    written = write(connection, how, *(f"{n},{2 if n in bad else 1}" for n in range(100)))
    assert written.problems.keys() == bad
    assert {problem.code for problem in written.problems.values()} == {"foreign_key"}
    assert "MySQL 1452" in next(iter(written.problems.values())).reason
    assert counts(written) == (100 - len(bad), 0, 0, len(bad))
    assert everything(connection) == [(n, 1) for n in range(100) if n not in bad]


def test_an_insert_refuses_what_is_there_already(connection: Connection) -> None:
    """Also what an earlier row of the same file has just put there."""
    create(connection, "CREATE TABLE t (k INT PRIMARY KEY, v VARCHAR(9))", "INSERT INTO t VALUES (2, 'old')")
    how = prepared(connection, "k v", mode="insert")
    written = write(connection, how, "1,'a'", "1,'b'", "2,'c'", "3,'d'")
    assert {number: problem.code for number, problem in written.problems.items()} == {
        1: "duplicate_key",
        2: "duplicate_key",
    }
    assert counts(written) == (2, 0, 0, 2)
    assert everything(connection) == [(1, "a"), (2, "old"), (3, "d")]


def test_checks_and_triggers_speak_for_their_rows(connection: Connection) -> None:
    """What the application guards its table with rejects a row, not the import."""
    create(
        connection,
        "CREATE TABLE t (k INT PRIMARY KEY, v INT CHECK (v > 0))",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN IF NEW.v = 13 THEN "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not on my watch'; END IF; END",
    )
    written = write(connection, prepared(connection, "k v", key="k"), "1,1", "2,0", "3,13", "4,4")
    assert {number: problem.code for number, problem in written.problems.items()} == {
        1: "check_constraint",
        2: "trigger",
    }
    assert "not on my watch" in written.problems[2].reason
    assert everything(connection) == [(1, 1), (4, 4)]


KEYS = {
    "an integer": ("k INT NOT NULL", "1", "2", "3"),
    "an integer that may be NULL": ("k INT NULL", "1", "2", "3"),
    "a text": ("k VARCHAR(9) NOT NULL", "'a'", "'b'", "'c'"),
    "a date": ("k DATE NOT NULL", "'2020-01-01'", "'2020-01-02'", "'2020-01-03'"),
    "a number": ("k DECIMAL(5,2) NOT NULL", "1.00", "2.00", "3.00"),
    "an enum": ("k ENUM('x','y','z') NOT NULL", "'x'", "'y'", "'z'"),
    "auto_increment": ("k BIGINT UNSIGNED NOT NULL AUTO_INCREMENT", "1", "2", "3"),
}


@pytest.mark.parametrize("order", ["UNIQUE KEY a (k), UNIQUE KEY b (mail)", "UNIQUE KEY a (mail), UNIQUE KEY b (k)"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_row_never_updates_the_row_of_another_key(connection: Connection, kind: str, order: str) -> None:
    """ON DUPLICATE KEY UPDATE would, through any other unique index; the guard rejects such a row and changes nothing."""
    declared, one, two, three = KEYS[kind]
    create(
        connection,
        f"CREATE TABLE t ({declared}, mail VARCHAR(9), v VARCHAR(9), {order})",
        f"INSERT INTO t VALUES ({one}, 'm1', 'v1'), ({two}, 'm2', 'v2')",
    )
    how = prepared(connection, "k mail v", key="k")
    assert how.guarded == "k"
    written = write(connection, how, f"{one},'m1','new'", f"{two},'m1','bad'", f"{three},'m2','bad'")
    assert written.problems.keys() == {1, 2}
    assert {problem.code for problem in written.problems.values()} <= {"other_unique_key", "duplicate_key"}
    assert counts(written) == (0, 1, 0, 2)
    assert everything(connection, "SELECT mail, v FROM t ORDER BY mail") == [("m1", "new"), ("m2", "v2")]
    assert counts(write(connection, how, f"{two},'m2','v2'")) == (0, 0, 1, 0)
    assert counts(write(connection, how, f"{three},'m3','v3'", f"{one},'m1','new'")) == (1, 0, 1, 0)


def test_a_key_that_could_not_be_guarded_is_refused(connection: Connection) -> None:
    """Where NULL would be no error there is no way to make the wrong row fail."""
    create(connection, "CREATE TABLE t (k VARCHAR(9) NULL UNIQUE, mail VARCHAR(9) UNIQUE)")
    with pytest.raises(BadTarget, match="NOT NULL"):
        prepared(connection, "k mail", key="k")


def test_a_value_that_the_server_would_round_fails_the_transaction(connection: Connection) -> None:
    """Strict mode rounds a DECIMAL with a mere note; no converter lets one through, and if one did, nothing is kept."""
    create(connection, "CREATE TABLE t (k INT PRIMARY KEY, v DECIMAL(5,2))")
    with pytest.raises(ServerChangedValues, match="1265"):
        write(connection, prepared(connection, "k v", key="k"), "1,1.239", "2,2")


def test_what_is_no_rows_fault_is_passed_on_without_the_data(connection: Connection) -> None:
    """A table that is gone is nobody's row; the error does not carry a megabyte of values into logs."""
    create(connection, "CREATE TABLE t (k INT PRIMARY KEY)")
    how = prepared(connection, "k", key="k")
    create(connection, "DROP TABLE t")
    with pytest.raises(DBAPIError) as raised:
        write(connection, how, *(str(n) for n in range(10_000)))
    assert raised.value.orig is not None
    assert raised.value.orig.args[0] == 1146
    assert len(str(raised.value)) < 1000


def test_a_lock_wait_is_passed_on_for_the_whole_transaction_to_be_redone(database_url: str) -> None:
    """After 1205 the server keeps what went before: bisecting on would write half of it."""
    engine = make_engine(database_url)
    with engine.connect() as holder, engine.connect() as connection:
        create(holder, "CREATE TABLE t (k INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (5, 0)")
        holder.commit()
        create(holder, "UPDATE t SET v = 1 WHERE k = 5")
        create(connection, "SET SESSION innodb_lock_wait_timeout = 1")
        with pytest.raises(DBAPIError) as raised:
            write(connection, prepared(connection, "k v", key="k"), "4,1", "5,1", "6,1")
        assert raised.value.orig is not None
        assert raised.value.orig.args[0] == 1205
        holder.rollback()
    engine.dispose()


def test_a_row_larger_than_any_statement_is_a_reject(connection: Connection) -> None:
    """A statement beyond max_allowed_packet would cut the connection, and look like a passing fault for ever."""
    create(connection, "CREATE TABLE t (k INT PRIMARY KEY, v LONGTEXT)")
    how = prepared(connection, "k v", key="k")
    assert how.max_row_bytes > 1024 * 1024
    large = "'" + "x" * (2 * 1024 * 1024) + "'"
    small = replace(how, max_row_bytes=1024 * 1024)
    written = write(connection, small, "1,'a'", f"2,{large}", "3,'c'")
    assert {number: problem.code for number, problem in written.problems.items()} == {1: "row_too_large"}
    assert counts(written) == (2, 0, 0, 1)
    assert counts(write(connection, how, f"2,{large}", "4,'d'")) == (2, 0, 0, 0)


def test_a_long_statement_is_counted_as_a_short_one(connection: Connection) -> None:
    """Also where the length of the server's answer, which stands in front of it, happens to look like a digit."""
    create(connection, "CREATE TABLE t (k INT PRIMARY KEY)")
    how = replace(prepared(connection, "k", key="k"), load=None)
    rows = [str(n) for n in range(100_000, 300_000)]
    assert counts(write(connection, how, *rows[1000:])) == (199_000, 0, 0, 0)
    assert counts(write(connection, how, *rows)) == (1000, 0, 199_000, 0)


def test_percent_signs_colons_and_backticks_are_themselves(connection: Connection) -> None:
    """No layer between takes data or names for placeholders."""
    create(connection, "CREATE TABLE `odd ``%s :t` (`k%s` INT PRIMARY KEY, `v :x ``{}` VARCHAR(99))")
    target = read_target(connection, "odd `%s :t", reserved=())
    how = statement(target, list(target.columns), ["k%s"], "upsert")
    assert counts(write(connection, how, "1,'100% %s :x {} ?'", "2,'b'")) == (2, 0, 0, 0)
    assert counts(write(connection, how, "1,'100% %s :x {} ?'")) == (0, 0, 1, 0)
    assert everything(connection, "SELECT * FROM `odd ``%s :t`")[0] == (1, "100% %s :x {} ?")
