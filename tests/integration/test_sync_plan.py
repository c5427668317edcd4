"""Plans: what a run would write, seen before it is written, and written as it was seen or not at all."""

from __future__ import annotations

from typing import Any

from runstate.statuses import RunStatus
from tasks.sync.apply_kind import APPLY_PLAN
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.sync_machinery import api, change, items, sync
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
