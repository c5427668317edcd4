"""What a push does with answers, lost answers, and records that move while it writes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tasks.sync.connector import OutcomeUnknown, Rejected, Unavailable
from tasks.sync.kind import SYNC
from tests.integration.machinery import execute, planned, query, work_off
from tests.integration.sync_machinery import api, both_sides, change, counts, items, outbox_rows, sync, sync_run
from tests.sync_api import Api, fresh

__all__ = ["api"]


def one(api: Api, **fields: Any) -> int:
    """A row and a record that agree; the row's id."""
    api.put("a", **{"name": "n", "price": "1.00", "stock": 1, **fields})
    sync()
    api.log.clear()
    return int(next(iter(items())))


def lose_answer(api: Api, op: str, times: int = 1) -> None:
    """Have the next calls of ``op`` be done and their answers lost."""
    left = [times]

    def after(done: str, remote_id: str) -> None:
        if done == op and left[0]:
            left[0] -= 1
            raise OutcomeUnknown(f"the answer to {op} {remote_id} was lost")

    api.after = after


def test_different_fields_edited_on_both_sides_both_survive(api: Api) -> None:
    """The merge is by field."""
    row = one(api)
    change("UPDATE items SET stock = 7 WHERE id = :i", row, i=row)
    api.put("a", price="9.90")
    sync()
    assert items() == {row: ("n", "9.90", 7)}
    assert api.live() == {"a": {"name": "n", "price": "9.90", "stock": 7}}


@pytest.mark.parametrize("policy, kept", [("local", 7), ("remote", 8)])
def test_the_same_field_edited_on_both_sides_goes_by_its_policy(api: Api, policy: str, kept: int) -> None:
    """The loser is in the audit."""
    api = fresh(policies={"stock": policy})
    row = one(api)
    change("UPDATE items SET stock = 7 WHERE id = :i", row, i=row)
    api.put("a", stock=8)
    sync()
    assert items()[row][2] == kept and api.live()["a"]["stock"] == kept
    lost = query("SELECT side, before_state, after_state FROM sync_audit WHERE action = 'lost'")
    assert [tuple(r) for r in lost] == [
        ("remote" if policy == "local" else "local", f'{{"stock":{15 - kept}}}', f'{{"stock":{kept}}}')
    ]


def test_a_record_that_moves_while_it_is_written_is_merged_again(api: Api) -> None:
    """The condition fails, the current record is merged, and both edits are there."""
    row = one(api)
    change("UPDATE items SET stock = 7 WHERE id = :i", row, i=row)
    moved = [2]

    def before(op: str, _: str) -> None:
        if op == "update" and moved[0]:
            moved[0] -= 1
            api.put("a", price=f"{moved[0] + 3}.00")

    api.before = before
    sync()
    assert items() == {row: ("n", "3.00", 7)}
    assert api.live()["a"] == {"name": "n", "price": "3.00", "stock": 7}
    assert [op for op, _ in api.log].count("update") == 3


def test_a_create_whose_answer_is_lost_makes_one_record(api: Api) -> None:
    """It is resolved by reading, never by making it again."""
    lose_answer(api, "create")
    change("INSERT INTO items (id, name) VALUES (5, 'x')", 5)
    sync()
    assert len(api.live()) == 1
    assert [op for op, _ in api.log if op != "list"] == ["create", "get"]
    assert counts(sync()) == {}


def test_a_create_whose_answer_is_lost_with_its_process_makes_one_record(api: Api) -> None:
    """The next run reads what became of it before it lists anything: no second row either."""
    lose_answer(api, "create")
    api.before = lambda op, _: (_ for _ in ()).throw(Unavailable("down")) if op == "get" else None
    change("INSERT INTO items (id, name) VALUES (5, 'x')", 5)
    sync_run()
    execute("UPDATE jobs SET state = 'cancelled' WHERE state = 'pending'")
    execute("UPDATE runs SET status = 'failed', finished_at = NOW(6) WHERE finished_at IS NULL")
    assert len(api.live()) == 1
    api.before = lambda *_: None
    sync()
    assert len(api.live()) == 1 and len(items()) == 1
    assert len([op for op, _ in api.log if op == "create"]) == 1


def test_an_api_that_cannot_say_what_became_of_a_create_leaves_it_in_doubt(api: Api) -> None:
    """Without ids of ours, idempotent creates or a search, a person must look."""
    api.capabilities = replace(api.capabilities, chosen_ids=False)
    lose_answer(api, "create")
    change("INSERT INTO items (id, name) VALUES (5, 'x')", 5)
    sync(direction="push")
    assert len(api.live()) == 1
    assert [tuple(r) for r in query("SELECT entity, code FROM sync_rejects")] == [("l:5", "in_doubt")]
    assert outbox_rows() == [("l:5", "rejected")]


def test_an_update_whose_answer_is_lost_is_read_first(api: Api) -> None:
    """One write, one reading, no further write."""
    row = one(api)
    change("UPDATE items SET stock = 7 WHERE id = :i", row, i=row)
    lose_answer(api, "update")
    sync()
    assert [op for op, _ in api.log if op != "list"] == ["update", "get"]
    assert api.live()["a"]["stock"] == 7
    assert outbox_rows() == []


def test_a_record_that_the_api_will_not_take_is_a_reject_and_the_others_flow(api: Api) -> None:
    """It waits until its row changes."""

    def before(op: str, _: str) -> None:
        if op == "create" and len(api.writes()) == 2:
            raise Rejected("name is taken", status=400, body="name is taken")

    api.before = before
    change("INSERT INTO items (id, name) VALUES (1, 'x'), (2, 'y'), (3, 'z')", 1, 2, 3)
    run = sync()
    assert counts(run)["remote_created"] == 2 and counts(run)["rejected"] == 1
    assert outbox_rows() == [("l:2", "rejected")]
    api.before = lambda *_: None
    api.log.clear()
    sync()
    assert api.writes() == []
    change("UPDATE items SET name = 'yy' WHERE id = 2", 2)
    sync()
    assert len(api.live()) == 3
    local, remote = both_sides(api)
    assert local == remote


def test_an_api_that_keeps_values_in_its_own_form_ends_the_loop(api: Api) -> None:
    """What it makes of our values is neither pulled back nor pushed again."""
    api.normalise = lambda fields: {**fields, "name": str(fields.get("name")).strip().lower()}
    change("INSERT INTO items (id, name) VALUES (1, '  Big ')", 1)
    sync()
    assert items()[1][0] == "  Big " and [f["name"] for f in api.live().values()] == ["big"]
    api.log.clear()
    for _ in range(2):
        assert counts(sync(full=True)) == {}
    assert api.writes() == []
    change("UPDATE items SET stock = 3 WHERE id = 1", 1)
    sync()
    assert items()[1] == ("  Big ", None, 3) and api.live().popitem()[1]["stock"] == 3


def test_what_we_wrote_does_not_come_back_as_an_edit(api: Api) -> None:
    """A listing that shows an older state of ours, after we have written again, changes nothing: the ledger knows it."""
    row = one(api)
    change("UPDATE items SET stock = 2 WHERE id = :i", row, i=row)
    sync(direction="push")
    older = api.records["a"]
    change("UPDATE items SET stock = 3 WHERE id = :i", row, i=row)
    sync(direction="push")
    newest = api.records["a"]
    api.records["a"] = older
    sync()
    assert items()[row][2] == 3
    api.records["a"] = newest
    sync()
    assert items()[row][2] == 3 and api.live()["a"]["stock"] == 3
    assert query("SELECT COUNT(*) FROM sync_ledger") == [(0,)]


def test_a_slow_api_has_its_answers_recorded_in_between(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written when the time is over is recorded, and a further job does the rest: nothing is written twice."""
    monkeypatch.setattr("tasks.sync.writes.CALLS_S", 0.2)
    api.before = lambda op, _: time.sleep(0.15) if op == "create" else None
    change("INSERT INTO items (id, name) VALUES (1, 'x'), (2, 'y'), (3, 'z'), (4, 'w')", 1, 2, 3, 4)
    run_id = planned(SYNC, connection="memory", kind="items", direction="push")
    work_off(SYNC, run_id)
    assert 1 <= len(api.live()) < 4
    assert len(outbox_rows()) == 4 - len(api.live())
    assert query("SELECT COUNT(*) FROM sync_outbox WHERE intent IS NOT NULL") == [(0,)]
