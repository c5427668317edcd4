"""A sync in this process: real MariaDB and Valkey, an API in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runstate.runs import Run
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.sync.connections import forget_connectors
from tasks.sync.kind import SYNC
from tasks.sync.outbox import record_change
from tests import sync_api
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.sync_api import ITEMS, Api


@pytest.fixture
def api(machinery: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An empty API, an empty table ``items``, and the connection ``memory`` between them."""
    monkeypatch.setenv("HOLDFAST_SYNC", "tests.sync_api:CONNECTION")
    monkeypatch.setenv("SYNC_CONNECTION_MEMORY", "http://nowhere.invalid")
    clients.reset()
    forget_connectors()
    execute(ITEMS)
    yield sync_api.fresh()
    forget_connectors()


def sync(**options: Any) -> Run:
    """One run, from start to end; it must complete."""
    run = sync_run(**options)
    assert run.status is RunStatus.COMPLETED, run.reason
    assert query("SELECT error FROM dead_letters WHERE run_id = :r", r=run.run_id) == []
    return run


def sync_run(**options: Any) -> Run:
    """One run, until nothing of it is out any more."""
    run_id = planned(SYNC, connection="memory", kind="items", **options)
    work_off(SYNC, run_id)
    return run_of(run_id)


def counts(run: Run) -> dict[str, Any]:
    """Its totals, without the pages and unchanged ones."""
    return {
        name: n for name, n in (run.result or {}).items() if name not in ("pages", "listed", "unchanged", "scanned")
    }


def change(statement: str, *ids: int, **values: Any) -> None:
    """What the application does: a change and its record, in one transaction."""
    from sqlalchemy import text

    def steps(connection: Any) -> None:
        connection.execute(text(statement), values)
        for local_id in ids:
            record_change(connection, "memory", "items", local_id)

    in_transaction(clients.engine(), steps)


def items() -> dict[int, tuple[Any, ...]]:
    """The table's rows: id → name, price as text, stock."""
    rows = query("SELECT id, name, CAST(price AS CHAR), stock FROM items ORDER BY id")
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def outbox_rows() -> list[tuple[str, str]]:
    return [tuple(row) for row in query("SELECT entity, state FROM sync_outbox ORDER BY id")]


def both_sides(api: Api) -> tuple[list[Any], list[Any]]:
    """What each side has, by value, to be compared."""
    local = sorted(items().values(), key=repr)
    remote = sorted(((f.get("name"), f.get("price"), f.get("stock")) for f in api.live().values()), key=repr)
    return local, remote
