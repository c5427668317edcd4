"""What the sync remembers: cursors, scans, conflicts, rejects, and clocks that it does not believe."""

from __future__ import annotations

import time

import pytest

from runstate.statuses import RunStatus
from tasks import clients
from tasks.errors import BadArguments
from tasks.sync import outbox
from tasks.sync.errors import NotResolvable
from tasks.sync.kind import SYNC
from tasks.sync.links import Pair
from tasks.sync.steer import resolve_conflict, retry_rejects
from tests.integration.machinery import execute, query, request
from tests.integration.sync_machinery import api, both_sides, change, counts, items, outbox_rows, sync, sync_run
from tests.sync_api import Api, fresh

__all__ = ["api"]


def one(api: Api) -> int:
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    api.log.clear()
    return int(next(iter(items())))


def test_a_scan_finds_what_nobody_recorded(api: Api) -> None:
    """New, changed and deleted rows, by their hashes; and nothing the second time."""
    api = fresh(scan=True)
    for n in range(12):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    sync()
    execute("UPDATE items SET stock = 50 WHERE name = 'n1'")
    execute("DELETE FROM items WHERE name = 'n2'")
    execute("INSERT INTO items (name) VALUES ('new')")
    run = sync()
    assert counts(run)["found_by_scan"] == 3
    local, remote = both_sides(api)
    assert local == remote
    api.log.clear()
    sync()
    assert api.writes() == []


def test_a_manual_field_waits_for_a_person_and_the_others_go_on(api: Api) -> None:
    """Neither value is written, however many runs there are; what the person keeps is on both sides after the next run."""
    api = fresh(policies={"stock": "manual"})
    row = one(api)
    change("UPDATE items SET stock = 7, price = 3 WHERE id = :i", row, i=row)
    api.put("a", stock=8, name="m")
    for _ in range(3):
        sync()
    assert items()[row] == ("m", "3.00", 7) and api.live()["a"] == {"name": "m", "price": "3.00", "stock": 8}
    ((conflict, base, local, remote),) = query("SELECT id, base, local, remote FROM sync_conflicts WHERE open = 1")
    assert (base, local, remote) == ("1", "7", "8")
    resolve_conflict(conflict, "value", value=9, actor="me", reason="counted")
    with pytest.raises(NotResolvable):
        resolve_conflict(conflict, "local", actor="me", reason="again")
    sync()
    assert items()[row][2] == 9 and api.live()["a"]["stock"] == 9
    assert query("SELECT COUNT(*) FROM sync_conflicts WHERE open = 1") == [(0,)]
    change("UPDATE items SET stock = 10 WHERE id = :i", row, i=row)
    sync()
    assert api.live()["a"]["stock"] == 10


@pytest.mark.parametrize("keep, kept", [("local", 7), ("remote", 8)])
def test_a_person_may_keep_either_side(api: Api, keep: str, kept: int) -> None:
    """And the field goes on from there."""
    api = fresh(policies={"stock": "manual"})
    row = one(api)
    change("UPDATE items SET stock = 7 WHERE id = :i", row, i=row)
    api.put("a", stock=8)
    sync()
    ((conflict,),) = query("SELECT id FROM sync_conflicts WHERE open = 1")
    resolve_conflict(conflict, keep, actor="me", reason="so")  # type: ignore[arg-type]
    sync()
    assert items()[row][2] == kept and api.live()["a"]["stock"] == kept
    assert outbox_rows() == []


def test_a_record_that_does_not_fit_is_a_reject_and_the_others_flow(api: Api) -> None:
    """In the page that has it; once its cause is gone, it is tried again when somebody says so."""
    api.put("a", name="x" * 30, price="1.00", stock=1)
    api.put("b", name="b", price="1.005", stock=1)
    api.put("c", name="c", price="1.00", stock=1)
    assert counts(sync()) == {"created": 1, "rejected": 2}
    assert sorted(tuple(r) for r in query("SELECT entity, code FROM sync_rejects")) == [
        ("r:a", "too_long"),
        ("r:b", "too_precise"),
    ]
    execute("ALTER TABLE items MODIFY name VARCHAR(40) NOT NULL")
    assert retry_rejects("memory", "items", actor="me", reason="widened") == 2
    sync()
    assert sorted(row[0] for row in items().values()) == ["c", "x" * 30]
    assert [tuple(r) for r in query("SELECT entity FROM sync_rejects")] == [("r:b",)]


def test_what_the_server_refuses_of_a_page_is_a_reject(api: Api) -> None:
    """A unique index of the application's stops one row of many."""
    execute("ALTER TABLE items ADD UNIQUE KEY (name)")
    for n in range(50):
        api.put(f"a{n}", name=f"n{n // 2 * 2 if n == 7 else n}", price="1.00", stock=n)
    assert counts(sync()) == {"created": 49, "rejected": 1}
    assert [tuple(r) for r in query("SELECT entity, code FROM sync_rejects")] == [("r:a7", "duplicate_key")]


def test_rows_and_records_from_before_the_first_run_are_matched(api: Api) -> None:
    """By the columns that say so, where there is exactly one; and the policy decides what differs."""
    api = fresh(match=("name",), policy="local")
    execute("INSERT INTO items (name, stock) VALUES ('x', 1), ('y', 2), ('y', 3)")
    api.put("a", name="x", price="5.00", stock=9)
    api.put("b", name="y", price=None, stock=9)
    sync()
    assert api.live()["a"] == {"name": "x", "price": None, "stock": 1}
    assert sorted(items().values(), key=repr) == [("x", None, 1), ("y", None, 2), ("y", None, 3), ("y", None, 9)]


def test_an_edit_while_a_page_is_on_its_way_is_not_overwritten(api: Api) -> None:
    """The row is compared under lock, in the transaction that writes it."""
    row = one(api)
    api.put("a", price="2.00")
    api.after = lambda op, _: change("UPDATE items SET stock = 5 WHERE id = :i", row, i=row) if op == "list" else None
    sync()
    assert items()[row] == ("n", "2.00", 5) and api.live()["a"]["stock"] == 5


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_a_worker_changes_nothing(api: Api, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour off, the same fields win as by the servers' own clocks."""
    row = one(api)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    api.put("a", stock=8)
    change("UPDATE items SET stock = 7 WHERE id = :i", row, i=row)
    sync()
    assert items()[row][2] == 7 and api.live()["a"]["stock"] == 7
    change("UPDATE items SET price = 7 WHERE id = :i", row, i=row)
    api.put("a", price="8.00")
    sync()
    assert items()[row][1] == "8.00" and api.live()["a"]["price"] == "8.00"


def test_an_undeclared_connection_is_refused_at_the_start(api: Api) -> None:
    """Before anything is recorded; a table that is not there fails the run with a sentence."""
    with pytest.raises(BadArguments, match="no kind 'nothing'"):
        request(SYNC, connection="memory", kind="nothing")
    execute("DROP TABLE items")
    run = sync_run()
    assert run.status is RunStatus.FAILED and "no table items" in (run.reason or "")


def test_an_entry_that_changed_while_it_was_looked_at_stays(api: Api) -> None:
    """Whoever is done with an older state of it takes only that away."""
    change("INSERT INTO items (id, name) VALUES (1, 'x')", 1)
    pair = Pair("memory", "items")
    with clients.engine().connect() as connection:
        (entry,) = outbox.find(connection, pair, ["l:1"])
        connection.rollback()
        change("UPDATE items SET stock = 1 WHERE id = 1", 1)
        outbox.done(connection, [entry])
        connection.commit()
    assert outbox_rows() == [("l:1", "pending")]
