"""While the API has one part of a batch, the next is prepared and the last recorded; whoever stops waits for the call."""

from __future__ import annotations

import threading

import pytest

from runstate.audit import Actor
from runstate.statuses import RunStatus
from tasks import control
from tasks.sync.aside import Aside
from tasks.sync.kind import SYNC
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.sync_machinery import api, both_sides, change, outbox_rows, sync
from tests.sync_api import Api
from tests.waiting import wait_until

__all__ = ["api"]

WHO = Actor("tester", "to see")


def rows(count: int) -> None:
    values = ", ".join(f"({n}, 'n{n}')" for n in range(1, count + 1))
    change(f"INSERT INTO items (id, name) VALUES {values}", *range(1, count + 1))


def test_the_next_part_is_prepared_and_the_last_recorded_while_the_api_has_one(api: Api) -> None:
    """The intents of part two are there during part one's first call, the links of part one during part three's."""
    rows(150)
    calls: list[str] = []

    def before(op: str, _: str) -> None:
        if op != "create":
            return
        calls.append(op)
        if len(calls) == 1:
            wait_until(lambda: query("SELECT COUNT(*) FROM sync_outbox WHERE intent IS NOT NULL") == [(100,)], 20)
        if len(calls) == 51:
            wait_until(lambda: query("SELECT COUNT(*) FROM sync_links") == [(50,)], 20)

    api.before = before
    sync(direction="push")
    assert len(calls) == 150
    local, remote = both_sides(api)
    assert local == remote and len(local) == 150
    assert outbox_rows() == []


def test_a_job_that_is_stopped_lets_the_call_end_and_makes_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entities' locks are let go after that; what was sent is read before anything is written again."""
    rows(120)
    creates: list[str] = []
    calling = [False]
    waits = threading.Event()
    real = Aside.ended

    def ended(aside: Aside[object]) -> None:
        waits.set()
        real(aside)

    def before(op: str, remote_id: str) -> None:
        if op == "create" and not creates:
            calling[0] = True
            control.pause(run_id, WHO)
            assert waits.wait(20)
        if op == "create":
            creates.append(remote_id)

    def after(op: str, _: str) -> None:
        calling[0] = False

    monkeypatch.setattr(Aside, "ended", ended)
    api.before, api.after = before, after
    run_id = planned(SYNC, connection="memory", kind="items", direction="push")
    work_off(SYNC, run_id)
    assert not calling[0]
    assert run_of(run_id).status is RunStatus.PAUSED
    assert len(creates) == 1
    control.resume(run_id, WHO)
    for _ in range(10):
        execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND state = 'pending'", r=run_id)
        work_off(SYNC, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert len(creates) == 120 and len(set(creates)) == 120
    local, remote = both_sides(api)
    assert local == remote and len(local) == 120
