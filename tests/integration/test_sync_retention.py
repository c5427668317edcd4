"""What the sync leaves behind is forgotten: with its run, or when it is old; what somebody still needs never is."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.retention import batches, keep_policy, parts
from tasks.sync.connector import Unreadable
from tests.integration.machinery import execute, query
from tests.integration.ops_command import Ops
from tests.integration.sync_machinery import api, change, items, sync
from tests.sync_api import Api, fresh

__all__ = ["api"]


@pytest.fixture
def ops(api: Api, capsys: pytest.CaptureFixture[str]) -> Ops:
    return Ops(capsys)


def purge_all(**days: int) -> dict[str, int]:
    """How many rows went, by part."""
    return {part: sum(batches(part, keep_policy(days))) for part in parts()}


def rows(table: str) -> int:
    return int(query(f"SELECT COUNT(*) FROM {table}")[0][0])


def age(table: str, column: str, days: int, where: str = "1 = 1") -> None:
    execute(f"UPDATE {table} SET {column} = NOW(6) - INTERVAL {days} DAY WHERE {where}")


def test_a_plan_goes_with_the_run_that_made_it(api: Api) -> None:
    """31 days after its end; that of a younger run stays."""
    api.put("a", name="n", price="1.00", stock=1)
    old, young = sync(dry_run=True).run_id, sync(dry_run=True).run_id
    age("runs", "finished_at", 29)
    purge_all()
    assert rows("sync_plan_entries") == 2
    age("runs", "finished_at", 31, f"run_id = '{old}'")
    purge_all()
    assert [row[0] for row in query("SELECT plan_id FROM sync_plan_entries")] == [young]
    assert [row[0] for row in query("SELECT run_id FROM runs")] == [young]


def test_the_audit_stays_longer_than_its_runs(api: Api) -> None:
    """A year, as every audit: what a policy decided against is in it."""
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    age("runs", "finished_at", 400)
    age("sync_audit", "at", 364)
    purge_all()
    assert rows("sync_audit") == 1 and rows("runs") == 0
    age("sync_audit", "at", 366)
    assert purge_all()["sync_audit"] == 1
    assert rows("sync_audit") == 0


def test_a_delivery_is_known_for_thirty_days_whatever_the_policy(api: Api) -> None:
    """Longer than any provider sends one again."""
    for n in range(3):
        execute("INSERT INTO sync_deliveries (connection, delivery_hash, run_id) VALUES ('c', :n, 'r')", n=str(n))
    age("sync_deliveries", "received_at", 29, "delivery_hash = '0'")
    age("sync_deliveries", "received_at", 31, "delivery_hash = '1'")
    assert purge_all(runs_days=1)["sync_deliveries"] == 1
    age("sync_deliveries", "received_at", 59)
    assert purge_all(runs_days=60)["sync_deliveries"] == 0
    age("sync_deliveries", "received_at", 61)
    assert purge_all(runs_days=60)["sync_deliveries"] == 2


def test_open_conflicts_and_links_are_never_forgotten(api: Api) -> None:
    """However old: somebody has to decide, and without its link a row would be made a second time.  A resolved one goes."""
    api = fresh(policies={"price": "manual"})
    for name in "ab":
        api.put(name, name=name, price="1.00", stock=1)
    sync()
    for name, row in {row[0]: i for i, row in items().items()}.items():
        change("UPDATE items SET price = 2 WHERE id = :i", row, i=row)
        api.put(name, price="3.00")
    sync()
    assert rows("sync_conflicts") == 2
    execute("UPDATE sync_conflicts SET open = NULL, resolved_at = NOW(6) ORDER BY id LIMIT 1")
    for table, column in (
        ("sync_conflicts", "created_at"), ("sync_links", "created_at"), ("sync_links", "read_at"), ("runs", "finished_at"),
        ("sync_cursors", "moved_at"), ("sync_outbox", "changed_at"),
    ):  # fmt: skip
        age(table, column, 4000)
    age("sync_conflicts", "resolved_at", 89, "open IS NULL")
    kept = [rows(table) for table in ("sync_conflicts", "sync_links", "sync_cursors", "sync_outbox")]
    purge_all()
    assert [rows(table) for table in ("sync_conflicts", "sync_links", "sync_cursors", "sync_outbox")] == kept
    age("sync_conflicts", "resolved_at", 91, "open IS NULL")
    purge_all()
    assert [row[0] for row in query("SELECT open FROM sync_conflicts")] == [1]


def test_what_is_no_record_is_forgotten_once_no_listing_has_shown_it_for_long(api: Api) -> None:
    """A reject of a row or a record stays as long as its cause; nothing tells that a piece without an id is gone."""
    real = api.list_changes

    def with_pieces(*args: Any, **kwargs: Any) -> Any:
        page = real(*args, **kwargs)
        object.__setattr__(page, "unreadable", [Unreadable("no id", "[]")])
        return page

    api.list_changes = with_pieces  # type: ignore[method-assign]
    api.put("long", name="x" * 21, price="1.00", stock=1)
    sync()
    assert [row[0] for row in query("SELECT code FROM sync_rejects ORDER BY code")] == ["no_record", "too_long"]
    age("sync_rejects", "created_at", 29)
    purge_all()
    assert rows("sync_rejects") == 2
    age("sync_rejects", "created_at", 31)
    purge_all()
    assert [row[0] for row in query("SELECT code FROM sync_rejects")] == ["too_long"]


def test_old_writes_of_connections_that_are_gone_are_forgotten(api: Api) -> None:
    """A run forgets those of its own kind of record alone."""
    for days in (6, 8):
        execute(
            "INSERT INTO sync_ledger (connection, kind, remote_id, value_hash, written_at)"
            " VALUES ('gone', 'items', 'a', 'x', NOW(6) - INTERVAL :d DAY)",
            d=days,
        )
    assert purge_all()["sync_ledger"] == 1
    assert rows("sync_ledger") == 1


def test_it_goes_in_small_batches_and_a_dry_run_counts(ops: Ops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes in a dry run; afterwards all that it counted, never more than a batch at a time."""
    values = ", ".join(f"('c', '{n}', 'r', NOW(6) - INTERVAL 40 DAY)" for n in range(7))
    execute(f"INSERT INTO sync_deliveries (connection, delivery_hash, run_id, received_at) VALUES {values}")
    sync(dry_run=True)
    execute("INSERT INTO sync_plan_entries (plan_id, entity) SELECT run_id, 'l:1' FROM runs")
    age("runs", "finished_at", 31)
    dry = ops("purge", "--dry-run", "--json").document["dry_run"]
    assert {name: n for name, n in dry.items() if n and name.startswith("sync_")} == {
        "sync_deliveries": 7,
        "sync_plan_entries": 1,
    }
    assert rows("sync_deliveries") == 7 and rows("sync_plan_entries") == 1
    monkeypatch.setattr("tasks.retention.BATCH_ROWS", 3)
    assert list(batches("sync_deliveries", keep_policy({}))) == [3, 3, 1]
    done = ops("purge", "--reason", "room", "--actor", "ann", "--json")
    assert done.code == 0 and done.document["forgotten"]["runs"] >= 1
    assert rows("sync_plan_entries") == 0
