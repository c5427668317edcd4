"""Deletes: told by tombstones, found by full listings, and held by the guard."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runstate.statuses import RunStatus
from tests.integration.machinery import execute, query
from tests.integration.sync_machinery import api, both_sides, change, counts, items, outbox_rows, sync, sync_run
from tests.sync_api import Api, fresh

__all__ = ["api"]


def filled(api: Api, records: int = 20) -> dict[str, int]:
    """So many rows and records that agree; the rows' ids by name."""
    for n in range(records):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    sync()
    api.log.clear()
    return {row[0]: i for i, row in items().items()}


@pytest.mark.parametrize("records", [2, 20])
def test_a_list_that_comes_back_empty_deletes_nothing(api: Api, records: int) -> None:
    """The run fails and says so; rows, records and the outbox are as they were."""
    ids = filled(api, records)
    change("UPDATE items SET stock = 99 WHERE id = :i", ids["n1"], i=ids["n1"])
    api.listing_hides = set(api.records)
    run = sync_run(full=True)
    assert run.status is RunStatus.FAILED and "nothing" in (run.reason or "")
    assert len(items()) == records and api.writes() == []
    api.listing_hides = set()
    sync()
    local, remote = both_sides(api)
    assert local == remote and len(local) == records


def test_a_full_listing_finds_what_is_gone_without_tombstones(api: Api) -> None:
    """What it does not have is asked for; only what is not there is deleted."""
    api.capabilities = replace(api.capabilities, tombstones=False)
    filled(api)
    for gone in ("a3", "a5"):
        del api.records[gone]
    api.listing_hides = {"a7"}
    assert counts(sync(full=True)) == {"deleted": 2, "missing": 3}
    assert len(items()) == 18
    assert [entry for entry in api.log if entry[0] == "get"] == [("get", "a3"), ("get", "a5"), ("get", "a7")]


@pytest.mark.parametrize("side", ["local", "remote"])
def test_a_run_that_would_delete_too_much_is_stopped(api: Api, side: str) -> None:
    """Nothing is deleted on either side, until somebody says that it is meant."""
    ids = filled(api)
    if side == "remote":
        for n in range(10):
            api.drop(f"a{n}")
    else:
        some = [ids[f"n{n}"] for n in range(10)]
        change(f"DELETE FROM items WHERE id IN ({', '.join(map(str, some))})", *some)
    run = sync_run()
    assert run.status is RunStatus.FAILED and "10 of 20" in (run.reason or "")
    assert len(items()) == (20 if side == "remote" else 10) and api.writes() == []
    sync(allow_deletes=True)
    assert len(items()) == len(api.live()) == 10
    assert query("SELECT COUNT(*) FROM sync_links") == [(10,)]


@pytest.mark.parametrize("wins", ["edit", "delete"])
def test_a_delete_meets_an_edit(api: Api, wins: str) -> None:
    """On either side the policy says which one wins, and both sides end the same."""
    api = fresh(delete_or_edit=wins)
    ids = filled(api)
    api.drop("a1")
    change("UPDATE items SET stock = 99 WHERE id = :i", ids["n1"], i=ids["n1"])
    change("DELETE FROM items WHERE id = :i", ids["n2"], i=ids["n2"])
    api.put("a2", stock=98)
    sync()
    sync()
    local, remote = both_sides(api)
    assert local == remote
    stocks = {row[0]: row[2] for row in local}
    assert (stocks.get("n1"), stocks.get("n2")) == ((99, 98) if wins == "edit" else (None, None))
    assert outbox_rows() == []


def test_a_row_that_a_foreign_key_holds_is_a_reject(api: Api) -> None:
    """The others are deleted."""
    ids = filled(api)
    execute("CREATE TABLE orders (id INT PRIMARY KEY, item BIGINT, FOREIGN KEY (item) REFERENCES items (id))")
    execute("INSERT INTO orders VALUES (1, :i)", i=ids["n1"])
    api.drop("a1")
    api.drop("a2")
    assert counts(sync()) == {"deleted": 1, "rejected": 1}
    assert [tuple(r) for r in query("SELECT entity, code FROM sync_rejects")] == [(f"l:{ids['n1']}", "foreign_key")]
    execute("DROP TABLE orders")


def test_what_may_not_be_deleted_stays(api: Api) -> None:
    """deletes='none': neither side loses anything."""
    api = fresh(deletes="none")
    ids = filled(api)
    api.drop("a1")
    change("DELETE FROM items WHERE id = :i", ids["n2"], i=ids["n2"])
    sync()
    assert len(items()) == 19 and len(api.live()) == 19 and "n1" in {row[0] for row in items().values()}
