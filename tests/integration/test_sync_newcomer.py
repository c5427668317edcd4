"""docs/sync-connectors.md, "Let it run": what it says there, done against the API that the tests serve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tasks.settings import settings
from tasks.sync.apply_kind import APPLY_PLAN
from tasks.sync.connections import forget_connectors
from tasks.sync.kind import SYNC
from tasks.sync.steer import plan_sync
from tests.documents import PROJECT, blocks
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.ops_command import Ops
from tests.worse_api import TOKEN, WorseApi, worse_api

TUTORIAL = PROJECT / "docs" / "sync-connectors.md"


@pytest.fixture
def shop(machinery: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorseApi]:
    """The tutorial's table, its connection, and the API behind it with two items."""
    (table,) = (block.text for block in blocks("", TUTORIAL) if block.text.startswith("CREATE TABLE"))
    execute(table.strip().removesuffix(";"))
    with worse_api() as api:
        monkeypatch.setenv("HOLDFAST_SYNC", "examples.sync_items:SHOP")
        monkeypatch.setenv("SYNC_CONNECTION_SHOP", api.url.replace("://", f"://{TOKEN}@"))
        settings.cache_clear()
        forget_connectors()
        for name in ("Saw", "Hammer"):
            api.create({"name": name, "price": "19.00"})
        yield api
    forget_connectors()
    settings.cache_clear()


def done(job_kind: Any, /, **arguments: Any) -> dict[str, Any]:
    run_id = planned(job_kind, **arguments)
    work_off(job_kind, run_id)
    assert run_of(run_id).status == "completed", run_of(run_id).reason
    return dict(run_of(run_id).result or {})


def test_the_tutorials_connection_plans_applies_and_runs(shop: WorseApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Look first, then let it write; afterwards both sides follow each other."""
    assert plan_sync("shop", "items").run_id
    execute("UPDATE runs SET status = 'cancelled'")
    plan_id = planned(SYNC, connection="shop", kind="items", dry_run=True)
    work_off(SYNC, plan_id)
    assert query("SELECT COUNT(*) FROM shop_items") == [(0,)]
    shown = Ops(capsys)("sync", "plan", "show", plan_id).out
    assert "table create: name None → 'Saw'" in shown
    assert done(APPLY_PLAN, plan_id=plan_id) == {"applied": 2}
    execute("INSERT INTO shop_items (name, price) VALUES ('Plane', 30)")
    done(SYNC, connection="shop", kind="items", full=True)
    assert sorted(item["name"] for item in shop.live().values()) == ["Hammer", "Plane", "Saw"]
    assert query("SELECT name FROM shop_items ORDER BY name") == [("Hammer",), ("Plane",), ("Saw",)]
    assert "shop/items: 3 links, 0 pending" in Ops(capsys)("sync", "status").out
    for table in ("runs", "jobs", "sync_audit", "sync_plan_entries"):
        assert TOKEN not in str(query(f"SELECT * FROM {table}")), table
