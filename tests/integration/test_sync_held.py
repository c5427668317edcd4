"""Entities that somebody else is writing, and a Redis that is away: the job waits, costs no attempt, and is done later."""

from __future__ import annotations

import time

import pytest

from locks import TokenLock
from locks.errors import LockLost
from locks.many import held_many
from runstate.statuses import RunStatus
from stack.private import Servers
from tasks import clients
from tasks.sync.apply_kind import APPLY_PLAN
from tasks.sync.kind import SYNC
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.sync_machinery import api, change, items, outbox_rows, sync
from tests.sync_api import Api
from tests.waiting import wait_until

__all__ = ["api"]


@pytest.fixture
def ids(api: Api) -> dict[str, int]:
    """Rows and records a to c that agree, each row then changed; the rows' ids by name."""
    for name in "abc":
        api.put(name, name=name, price="1.00", stock=1)
    sync()
    found = {row[0]: i for i, row in items().items()}
    for row in found.values():
        change("UPDATE items SET stock = 5 WHERE id = :i", row, i=row)
    api.log.clear()
    return found


def elsewhere(entity: str) -> TokenLock:
    """Another worker's hold on an entity."""
    lock = TokenLock(clients.redis(), ["sync", "memory", "items", entity], 30, "sync9@elsewhere")
    assert lock.acquire()
    return lock


def begun() -> str:
    run_id = planned(SYNC, connection="memory", kind="items", direction="push")
    work_off(SYNC, run_id)
    return run_id


def waiting(run_id: str) -> list[tuple[str, int, str]]:
    """State, attempts and last error of what is not done."""
    rows = query("SELECT state, attempts, last_error FROM jobs WHERE run_id = :r AND state <> 'done'", r=run_id)
    return [(row[0], row[1], row[2] or "") for row in rows]


def go_on(run_id: str) -> None:
    """The wait is over."""
    execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND state = 'pending'", r=run_id)
    work_off(SYNC, run_id)


def test_entities_held_elsewhere_are_snoozed_and_done_later(api: Api, ids: dict[str, int]) -> None:
    """Not read, not written, no attempt used; the run waits for them, and completes."""
    locks = [elsewhere(f"l:{row}") for row in ids.values()]
    run_id = begun()
    ((state, attempts, said),) = waiting(run_id)
    assert (state, attempts) == ("pending", 0) and "3 entities are being written by somebody else" in said
    assert api.log == []
    for lock in locks:
        lock.release()
    go_on(run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert {fields["stock"] for fields in api.live().values()} == {5} and outbox_rows() == []


def test_one_that_is_held_keeps_no_other_back(api: Api, ids: dict[str, int]) -> None:
    """The rest of the batch is written; a further job comes back for the one."""
    lock = elsewhere(f"l:{ids['b']}")
    run_id = begun()
    assert [(state, attempts) for state, attempts, _ in waiting(run_id)] == [("pending", 0)]
    assert {name: fields["stock"] for name, fields in api.live().items()} == {"a": 5, "b": 1, "c": 5}
    lock.release()
    go_on(run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert api.live()["b"]["stock"] == 5 and outbox_rows() == []


def test_a_write_that_was_begun_and_is_held_elsewhere_is_waited_for(api: Api, ids: dict[str, int]) -> None:
    """Before anything is listed: the record that it makes must be linked, not taken for a new one."""
    intent = '{"op":"update","key":"k","fields":{},"remote_id":"a","version":"1","seq":0}'
    execute("UPDATE sync_outbox SET intent = :i WHERE entity = :e", i=intent, e=f"l:{ids['a']}")
    lock = elsewhere(f"l:{ids['a']}")
    run_id = begun()
    assert [(state, attempts) for state, attempts, _ in waiting(run_id)] == [("pending", 0)]
    assert api.log == []
    lock.release()


def test_an_entry_of_a_plan_that_is_held_elsewhere_is_refused_by_name(api: Api, ids: dict[str, int]) -> None:
    """What somebody else writes has moved anyway: nothing waits, nothing is written, and the entry says so."""
    plan = sync(dry_run=True, direction="push")
    lock = elsewhere(f"l:{ids['a']}")
    run_id = planned(APPLY_PLAN, plan_id=plan.run_id)
    work_off(APPLY_PLAN, run_id)
    lock.release()
    assert run_of(run_id).result == {"applied": 2, "refused": 1}
    assert [row[0] for row in query("SELECT reason FROM sync_plan_entries WHERE status = 'refused'")] == [
        "somebody else is writing it"
    ]


def test_while_redis_is_away_nothing_is_written_and_no_attempt_is_used(
    api: Api, ids: dict[str, int], servers: Servers
) -> None:
    """It goes away between two writes of a batch: what was written is recorded, and with Redis back the rest is."""

    def before(op: str, _: str) -> None:
        if op == "update":
            servers.valkey.kill()
            api.before = lambda *_: None

    api.before = before
    run_id = planned(SYNC, connection="memory", kind="items", direction="push")
    try:
        work_off(SYNC, run_id)
        assert {fields["stock"] for fields in api.live().values()} == {5} and outbox_rows() == []
        for row in ids.values():
            change("UPDATE items SET stock = 6 WHERE id = :i", row, i=row)
        second = query("SELECT status FROM runs WHERE run_id = :r", r=run_id)
        assert second == [("completed",)]
        api.log.clear()
        away = planned_without_redis()
        ((state, attempts, said),) = waiting(away)
        assert (state, attempts) == ("pending", 0) and "cannot be locked" in said
        assert api.log == []
    finally:
        servers.valkey.start()
    go_on(away)
    assert run_of(away).status is RunStatus.COMPLETED
    assert {fields["stock"] for fields in api.live().values()} == {6}


def planned_without_redis() -> str:
    """A run as far as it comes: what its first jobs hand on is taken by hand, for nobody is told of it."""
    run_id = planned(SYNC, connection="memory", kind="items", direction="push")
    for _ in range(10):
        execute(
            "UPDATE jobs SET state = 'queued' WHERE run_id = :r AND state = 'pending' AND last_error IS NULL", r=run_id
        )
        work_off(SYNC, run_id)
    return run_id


# -- the locks of a batch -------------------------------------------------------------------------------------------------


def test_locks_of_a_batch_are_kept_alive_and_freed(redis_url: str) -> None:
    """For longer than their time to live, by one keeper; afterwards all are free."""
    client = clients.redis()
    names = [["x", n] for n in range(50)]
    with held_many(client, names, 1.5, "one") as held:
        assert held.mine == [True] * 50
        until = time.monotonic() + 2.0
        wait_until(lambda: time.monotonic() > until)
        held.check()
        with held_many(client, names[:2], 1.5, "two") as other:
            assert other.mine == [False, False]
    with held_many(client, names, 0.3, "two") as other:
        assert other.mine == [True] * 50


def test_a_lock_of_a_batch_that_was_lost_is_said(redis_url: str) -> None:
    """Deleted by an operator, or a Redis that lost everything: whoever asks hears of it, and frees nothing of others."""
    client = clients.redis()
    with held_many(client, ["a", "b"], 0.3, "one") as held:
        client.flushdb()
        with held_many(client, ["a"], 5, "two") as other:
            assert other.mine == [True]

            def lost() -> bool:
                try:
                    held.check()
                except LockLost:
                    return True
                return False

            wait_until(lost)
            held.release()
            assert not TokenLock(client, "a", 1, "three").acquire()
