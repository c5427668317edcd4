"""Plans: what a run would write, seen before it is written, and written as it was seen or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from runstate.statuses import RunStatus
from tasks.settings import settings
from tasks.sync.apply_kind import APPLY_PLAN
from tasks.sync.connections import forget_connectors
from tasks.sync.connector import RateLimited
from tasks.sync.kind import SYNC
from tests.integration.machinery import admitted, execute, planned, query, run_of, work_off
from tests.integration.sync_machinery import api, change, items, sync, sync_run
from tests.sync_api import Api, fresh

__all__ = ["api"]


def apply_plan(plan_id: str) -> dict[str, Any]:
    run_id = planned(APPLY_PLAN, plan_id=plan_id)
    work_off(APPLY_PLAN, run_id)
    run = run_of(run_id)
    assert run.status is RunStatus.COMPLETED, run.reason
    return dict(run.result or {})


def entries(plan_id: str) -> dict[str, tuple[str | None, str | None, str]]:
    rows = query(
        "SELECT entity, local_change, remote_change, status FROM sync_plan_entries WHERE plan_id = :p", p=plan_id
    )
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def state(api: Api) -> list[Any]:
    tables = ("sync_links", "sync_cursors", "sync_outbox", "sync_audit")
    return [items(), api.live(), [query(f"SELECT COUNT(*) FROM {table}") for table in tables]]


def divided(api: Api) -> dict[str, int]:
    """Rows a to e that agree, then edits of every sort; the rows' ids by name."""
    api = fresh(policies={"stock": "local"})
    for name in "abcde":
        api.put(name, name=name, price="1.00", stock=1)
    sync()
    ids = {row[0]: i for i, row in items().items()}
    change("UPDATE items SET price = 2 WHERE id = :i", ids["a"], i=ids["a"])
    change("UPDATE items SET stock = 5 WHERE id = :i", ids["b"], i=ids["b"])
    change("DELETE FROM items WHERE id = :i", ids["c"], i=ids["c"])
    change("INSERT INTO items (id, name) VALUES (77, 'new')", 77)
    api.put("a", stock=9)
    api.put("b", stock=6)
    api.drop("d")
    api.put("f", name="f", price=None, stock=None)
    api.log.clear()
    return ids


def test_a_dry_run_writes_nothing_and_says_what_it_would_write(api: Api) -> None:
    """Both sides, field by field, with before and after."""
    ids = divided(api)
    from tests.sync_api import API

    before = state(API)
    plan = sync(dry_run=True)
    assert state(API) == before and API.writes() == []
    assert entries(plan.run_id) == {
        f"l:{ids['a']}": (
            '{"action":"update","fields":{"stock":[1,9]}}',
            '{"action":"update","fields":{"price":["1.00","2.00"]}}',
            "planned",
        ),
        f"l:{ids['b']}": (None, '{"action":"update","fields":{"stock":[6,5]}}', "planned"),
        f"l:{ids['c']}": (
            None,
            '{"action":"delete","fields":{"name":["c",null],"price":["1.00",null],"stock":[1,null]}}',
            "planned",
        ),
        f"l:{ids['d']}": (
            '{"action":"delete","fields":{"name":["d",null],"price":["1.00",null],"stock":[1,null]}}',
            None,
            "planned",
        ),
        "l:77": (
            None,
            '{"action":"create","fields":{"name":[null,"new"],"price":[null,null],"stock":[null,null]}}',
            "planned",
        ),
        "r:f": (
            '{"action":"create","fields":{"name":[null,"f"],"price":[null,null],"stock":[null,null]}}',
            None,
            "planned",
        ),
    }


def test_a_plan_is_applied_as_it_stands(api: Api) -> None:
    """Afterwards both sides are the same, and a run finds nothing to write."""
    divided(api)
    from tests.sync_api import API

    plan = sync(dry_run=True)
    assert apply_plan(plan.run_id) == {"applied": 6}
    assert sorted(items().values(), key=repr) == sorted(
        ((f["name"], f["price"], f["stock"]) for f in API.live().values()), key=repr
    )
    API.log.clear()
    sync()
    assert API.writes() == []
    assert apply_plan(plan.run_id) == {}


def test_an_entry_whose_state_has_moved_is_refused(api: Api) -> None:
    """A row or a record that was edited after the plan is left alone, and the entry says so."""
    ids = divided(api)
    from tests.sync_api import API

    plan = sync(dry_run=True)
    execute("UPDATE items SET name = 'A' WHERE id = :i", i=ids["a"])
    API.put("b", name="B")
    assert apply_plan(plan.run_id) == {"applied": 4, "refused": 2}
    assert items()[ids["a"]] == ("A", "2.00", 1) and API.live()["b"] == {"name": "B", "price": "1.00", "stock": 6}
    refused = query("SELECT reason FROM sync_plan_entries WHERE status = 'refused' ORDER BY entity")
    assert {row[0].split(" has ")[0] for row in refused} == {"the row", "the record"}


def test_a_record_that_moves_while_its_entry_is_applied_is_refused(api: Api) -> None:
    """The conditional write says no, and nothing is merged again."""
    ids = divided(api)
    from tests.sync_api import API

    plan = sync(dry_run=True)

    def before(op: str, remote_id: str) -> None:
        if (op, remote_id) == ("update", "b"):
            API.put("b", name="late")

    API.before = before
    assert apply_plan(plan.run_id) == {"applied": 5, "refused": 1}
    assert items()[ids["b"]][0] == "b" and API.live()["b"]["stock"] == 6
    API.before = lambda *_: None
    sync()
    assert items()[ids["b"]] == ("late", "1.00", 5)


def refused(plan_id: str) -> dict[str, str]:
    """Why, by entity."""
    rows = query("SELECT entity, reason FROM sync_plan_entries WHERE plan_id = :p AND status = 'refused'", p=plan_id)
    return {row[0]: row[1] for row in rows}


def test_whatever_has_moved_on_either_side_is_left_alone(api: Api) -> None:
    """The row, the record, its version alone, the link, or that it is gone: each by name, and nothing of them is written."""
    ids = divided(api)
    from tests.sync_api import API

    plan = sync(dry_run=True)
    execute("DELETE FROM items WHERE id = :i", i=ids["a"])
    API.put("b")
    API.drop("c")
    execute("UPDATE items SET stock = 3 WHERE id = :i", i=ids["d"])
    execute("UPDATE items SET name = 'newer' WHERE id = 77")
    API.drop("f")
    before = [items(), API.live()]
    API.log.clear()
    assert apply_plan(plan.run_id) == {"refused": 6}
    assert [items(), API.live()] == before and API.writes() == []
    assert refused(plan.run_id) == {
        f"l:{ids['a']}": "the row has changed since the plan was made",
        f"l:{ids['b']}": "the record's version has changed since the plan was made",
        f"l:{ids['c']}": "there is nothing to do any more",
        f"l:{ids['d']}": "the row has changed since the plan was made",
        "l:77": "the row has changed since the plan was made",
        "r:f": "there is nothing to do any more",
    }


def test_what_a_run_has_done_meanwhile_is_not_done_again(api: Api) -> None:
    """Both sides are the same, so the plan has nothing to say any more."""
    divided(api)
    from tests.sync_api import API

    plan = sync(dry_run=True)
    sync()
    before = [items(), API.live(), query("SELECT COUNT(*) FROM sync_audit")]
    API.log.clear()
    assert apply_plan(plan.run_id) == {"refused": 6}
    assert [items(), API.live(), query("SELECT COUNT(*) FROM sync_audit")] == before and API.writes() == []


def test_a_plan_that_is_applied_twice_at_once_is_applied_once(api: Api) -> None:
    """The second start is refused, and names the first."""
    divided(api)
    plan = sync(dry_run=True)
    first = admitted(APPLY_PLAN, plan_id=plan.run_id)
    second = admitted(APPLY_PLAN, plan_id=plan.run_id)
    assert run_of(second).status is RunStatus.REFUSED and run_of(second).refused_by == first


def test_a_limit_in_the_middle_costs_no_entry_and_no_attempt(api: Api) -> None:
    """The API says "later": the rest of the plan waits, and is then applied as it stands."""
    divided(api)
    from tests.sync_api import API

    plan = sync(dry_run=True)
    once = [1]

    def before(op: str, _: str) -> None:
        if op == "create" and once:
            once.clear()
            raise RateLimited("429", retry_after_s=60, status=429)

    API.before = before
    run_id = planned(APPLY_PLAN, plan_id=plan.run_id)
    work_off(APPLY_PLAN, run_id)
    assert query("SELECT state, attempts FROM jobs WHERE run_id = :r AND job_no = 1", r=run_id) == [("pending", 0)]
    execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND job_no = 1", r=run_id)
    work_off(APPLY_PLAN, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    statuses = query("SELECT status, COUNT(*) FROM sync_plan_entries GROUP BY status")
    assert [tuple(row) for row in statuses] == [("applied", 6)]
    assert len(API.live()) == 5


def crashed_between(api: Api, row: int) -> tuple[str, str]:
    """An application whose worker dies when it writes record a, with the row of it done; the plan and the run."""
    from tests.sync_api import API

    plan = sync(dry_run=True)

    def before(op: str, remote_id: str) -> None:
        if (op, remote_id) == ("update", "a"):
            raise SystemError("the worker dies here")

    API.before = before
    run_id = planned(APPLY_PLAN, plan_id=plan.run_id)
    work_off(APPLY_PLAN, run_id)
    assert items()[row] == ("a", "2.00", 9) and API.live()["a"]["price"] == "1.00"
    API.before = lambda *_: None
    return plan.run_id, run_id


def tried_again(run_id: str) -> dict[str, Any]:
    execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND job_no = 1", r=run_id)
    work_off(APPLY_PLAN, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    return dict(run_of(run_id).result or {})


def test_a_crash_between_the_two_sides_of_an_entry_goes_on_with_the_second(api: Api) -> None:
    """The table's side is done, the API's waits: tried again, it is written as the plan says, and only once."""
    ids = divided(api)
    from tests.sync_api import API

    _, run_id = crashed_between(api, ids["a"])
    assert tried_again(run_id) == {"applied": 6}
    assert API.live()["a"] == {"name": "a", "price": "2.00", "stock": 9}
    assert query("SELECT COUNT(*) FROM sync_outbox") == [(0,)]
    API.log.clear()
    sync()
    assert API.writes() == []


@pytest.mark.parametrize("side", ["row", "record", "both, by a run"])
def test_what_moves_between_the_two_sides_of_an_entry_is_not_overwritten(api: Api, side: str) -> None:
    """Edited after the crash, the other side is refused and decided by the next run; done by a run, it is applied."""
    ids = divided(api)
    from tests.sync_api import API

    plan_id, run_id = crashed_between(api, ids["a"])
    if side == "row":
        change("UPDATE items SET price = 5 WHERE id = :i", ids["a"], i=ids["a"])
    elif side == "record":
        API.put("a", name="A")
    else:
        sync()
    API.log.clear()
    totals = tried_again(run_id)
    expected = {"row": ("5.00", "a"), "record": ("2.00", "A")}.get(side, ("2.00", "a"))
    if side in ("row", "record"):
        assert refused(plan_id) == {
            f"l:{ids['a']}": "one side has changed since the other was written; the next run goes on"
        }
        assert ("update", "a") not in API.writes()
    else:
        # The run has done the others as well, before the plan came to them.
        assert totals["applied"] == 1
    sync()
    assert (API.live()["a"]["price"], API.live()["a"]["name"]) == expected
    assert items()[ids["a"]][:2] == (expected[1], expected[0])


def failed(plan_id: str) -> str:
    """Apply it; it must fail at once, and say why."""
    run_id = planned(APPLY_PLAN, plan_id=plan_id)
    work_off(APPLY_PLAN, run_id)
    run = run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert query("SELECT MAX(attempts) FROM jobs WHERE run_id = :r", r=run_id) == [(1,)]
    return run.reason or ""


def test_what_is_no_plan_is_not_applied(api: Api) -> None:
    """No such run, a run that wrote, one that is still at it, one that failed or was cancelled half-way."""
    api.put("a", name="n", price="1.00", stock=1)
    nobody = "00000000-0000-0000-0000-000000000000"
    assert f"there is no plan {nobody}" in failed(nobody)
    assert "made no plan" in failed(sync().run_id)
    under_way = planned(SYNC, connection="memory", kind="items", dry_run=True)
    assert "is still running" in failed(under_way)
    work_off(SYNC, under_way)
    execute("UPDATE runs SET status = 'cancelled' WHERE run_id = :r", r=under_way)
    assert "is cancelled, so its plan is not whole" in failed(under_way)


def test_a_plan_of_a_connection_that_is_gone_fails_by_its_name(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt is wasted on it, and nothing is written."""
    divided(api)
    plan = sync(dry_run=True)
    before = items()
    monkeypatch.setenv("HOLDFAST_SYNC", "")
    settings.cache_clear()
    forget_connectors()
    assert "there is no connection 'memory' here" in failed(plan.run_id)
    assert items() == before
    assert query("SELECT DISTINCT status FROM sync_plan_entries") == [("planned",)]


def test_the_guard_does_not_hold_a_plans_deletes_back(api: Api) -> None:
    """A person has seen them; a run would be stopped."""
    api = fresh(few_deletes=0, max_delete_share=0.0)
    for name in "ab":
        api.put(name, name=name, price="1.00", stock=1)
    sync()
    api.drop("a")
    assert sync_run().status is RunStatus.FAILED
    plan = sync(dry_run=True)
    assert apply_plan(plan.run_id) == {"applied": 1}
    assert [row[0] for row in items().values()] == ["b"]
