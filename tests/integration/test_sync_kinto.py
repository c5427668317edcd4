"""A sync with a real server: Kinto behind nginx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runstate.runs import Run
from runstate.statuses import RunStatus
from tasks.sync.connections import forget_connectors
from tasks.sync.kind import SYNC
from tasks.sync.outbox import record_change
from tests.integration.machinery import execute, planned, run_of, work_off
from tests.integration.sync_machinery import items, outbox_rows
from tests.kinto_server import PASSWORD, USER, KintoServer, kinto, kinto_process
from tests.sync_api import ITEMS

__all__ = ["kinto", "kinto_process"]


@pytest.fixture
def shop(machinery: None, kinto: KintoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[KintoServer]:
    """Kinto, an empty table, and the connection ``shop`` between them."""
    monkeypatch.setenv("HOLDFAST_SYNC", "tests.sync_shop:SHOP")
    monkeypatch.setenv("SYNC_CONNECTION_SHOP", kinto.url.replace("://", f"://{USER}:{PASSWORD}@"))
    forget_connectors()
    execute(ITEMS)
    yield kinto
    forget_connectors()


def sync(**options: Any) -> Run:
    run_id = planned(SYNC, connection="shop", kind="items", **options)
    work_off(SYNC, run_id)
    run = run_of(run_id)
    assert run.status is RunStatus.COMPLETED, run.reason
    return run


def remote(shop: KintoServer) -> dict[str, tuple[Any, ...]]:
    return {i: (r.get("name"), r.get("price"), r.get("stock")) for i, r in shop.records("items").items()}


def change(statement: str, *ids: int) -> None:
    from sqlalchemy import text

    from runstate.transaction import in_transaction
    from tasks import clients

    def steps(connection: Any) -> None:
        connection.execute(text(statement))
        for local_id in ids:
            record_change(connection, "shop", "items", local_id)

    in_transaction(clients.engine(), steps)


def test_both_sides_become_the_same(shop: KintoServer) -> None:
    """Creates, changes and deletes of both sides, with one request for many writes."""
    for n in range(30):
        shop.put("items", f"r{n:02}", name=f"n{n}", price="1.00", stock=n)
    sync()
    ids = {row[0]: i for i, row in items().items()}
    change("INSERT INTO items (id, name) VALUES (901, 'x'), (902, 'y')", 901, 902)
    change(f"UPDATE items SET stock = 50 WHERE id = {ids['n1']}", ids["n1"])
    change(f"DELETE FROM items WHERE id = {ids['n2']}", ids["n2"])
    shop.patch("items", "r01", price="2.50")
    shop.patch("items", "r03", price="3.50")
    shop.delete("items", "r04")
    shop.forget_requests()
    sync()
    assert len([r for r in shop.requests() if r.method != "GET"]) == 1
    assert sorted(items().values()) == sorted(remote(shop).values(), key=repr)
    assert items()[ids["n1"]] == ("n1", "2.50", 50)
    shop.forget_requests()
    assert sync().result is not None
    assert [r.method for r in shop.requests()] == ["GET"]
    assert outbox_rows() == []
