"""Whole transactions: redone, resolved, or given up with a clear error."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import Connection, text

from runstate.engine import make_engine
from runstate.errors import CommitUnknown, DatabaseUnavailable
from runstate.transaction import in_transaction
from stack.private import Servers
from tasks import clients
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def counters(machinery: None) -> None:
    """Two rows to collide on."""
    execute("CREATE TABLE counters (id INT PRIMARY KEY, n INT NOT NULL)")
    execute("INSERT INTO counters VALUES (1, 0), (2, 0)")


@pytest.mark.usefixtures("counters")
def test_deadlocked_transactions_are_redone_whole() -> None:
    """Two transactions that cross each other's locks both happen, each exactly once, both of their writes."""
    both_hold_one = threading.Barrier(2, timeout=10)
    runs: list[int] = []

    def cross(first: int, second: int) -> None:
        crossed = False

        def steps(connection: Connection) -> None:
            nonlocal crossed
            runs.append(first)
            connection.execute(text("UPDATE counters SET n = n + 1 WHERE id = :id"), {"id": first})
            if not crossed:
                crossed = True
                both_hold_one.wait()
            connection.execute(text("UPDATE counters SET n = n + 1 WHERE id = :id"), {"id": second})

        in_transaction(clients.engine(), steps)

    threads = [threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert query("SELECT n FROM counters ORDER BY id") == [(2,), (2,)]
    assert len(runs) == 3, "one of the two was chosen as the victim and redone"


@pytest.mark.usefixtures("counters")
def test_a_commit_without_an_answer_is_looked_up_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that dies after COMMIT arrived: the look-up finds the work, and it is not done again."""
    real_commit = Connection.commit
    lost: list[int] = []

    def commit_then_lose(self: Connection) -> None:
        real_commit(self)
        if not lost:
            lost.append(1)
            raise ConnectionResetError("the answer never came")

    monkeypatch.setattr(Connection, "commit", commit_then_lose)

    def add(connection: Connection) -> int:
        connection.execute(text("UPDATE counters SET n = n + 1 WHERE id = 1"))
        return 1

    def committed(connection: Connection) -> int | None:
        return connection.scalar(text("SELECT n FROM counters WHERE id = 1 FOR UPDATE")) or None

    assert in_transaction(clients.engine(), add, committed=committed) == 1
    assert lost
    assert query("SELECT n FROM counters WHERE id = 1") == [(1,)]


@pytest.mark.usefixtures("counters")
def test_a_commit_that_did_not_arrive_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that dies before COMMIT arrives: the look-up finds nothing, and the work is done again, once."""
    real_commit = Connection.commit
    lost: list[int] = []

    def lose_before_commit(self: Connection) -> None:
        if not lost:
            lost.append(1)
            self.connection.driver_connection._sock.close()  # type: ignore[union-attr]
            raise ConnectionResetError("gone before it was sent")
        real_commit(self)

    monkeypatch.setattr(Connection, "commit", lose_before_commit)

    def add(connection: Connection) -> int:
        connection.execute(text("UPDATE counters SET n = n + 1 WHERE id = 1"))
        return 1

    def committed(connection: Connection) -> int | None:
        return connection.scalar(text("SELECT n FROM counters WHERE id = 1 FOR UPDATE")) or None

    assert in_transaction(clients.engine(), add, committed=committed) == 1
    assert query("SELECT n FROM counters WHERE id = 1") == [(1,)]


@pytest.mark.usefixtures("counters")
def test_an_unknown_commit_that_nobody_can_resolve_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look-up the caller is told that the outcome is unknown."""

    def lose(self: Connection) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(Connection, "commit", lose)
    with pytest.raises(CommitUnknown):
        in_transaction(clients.engine(), lambda c: c.execute(text("UPDATE counters SET n = 5")))


def test_a_database_that_is_down_is_a_clear_error_soon(servers: Servers) -> None:
    """Nobody waits longer than asked for."""
    servers.mariadb.kill()
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        in_transaction(clients.start_engine(), lambda c: c.execute(text("SELECT 1")))
    assert time.monotonic() - started < 3
    servers.mariadb.start()


def test_a_restarted_database_is_used_again_without_a_word(servers: Servers) -> None:
    """Pooled connections that died with the server are replaced, and the run goes on."""
    run_id = planned(KEYED, n=3)
    servers.mariadb.kill()
    servers.mariadb.start()
    work_off(KEYED, run_id)
    assert run_of(run_id).jobs_done == 3


def test_sessions_are_read_committed_utc_and_strict(database_url: str) -> None:
    """Every new session has what the protocol stands on, whatever the server's defaults."""
    with make_engine(database_url).connect() as connection:
        zone, mode = connection.execute(text("SELECT @@session.time_zone, @@session.sql_mode")).one()
        isolation = connection.execute(text("SHOW SESSION VARIABLES LIKE 'tx_isolation'")).one()[1]
    assert (zone, isolation) == ("+00:00", "READ-COMMITTED")
    assert "STRICT_TRANS_TABLES" in mode
