"""A checkpoint commits only while the claim and the run's fence hold, and says which of them did not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from runstate import claims
from runstate.audit import Actor
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.errors import WorkStopped
from tasks.lease import Kept
from tasks.work import ClaimedWork
from tests.integration.machinery import execute, planned, query
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")


def work_of(run_id: str, job_no: int) -> ClaimedWork:
    """A job in this worker's hands, its lease not renewed by anybody."""
    claim = in_transaction(
        clients.engine(),
        lambda c: claims.claim(c, run_id, job_no, token=claims.new_token(), lease_s=3, worker="w", boot="b" * 8),
    )
    assert claim is not None
    return ClaimedWork(Kept(claim, 60))


def note(connection: Connection) -> None:
    connection.execute(text("INSERT INTO effects (run_id, job_no, note) VALUES ('r', 1, 'phase')"))


def test_it_is_there_at_once_and_before_the_record() -> None:
    """What must not wait for the record: others see it while the job still runs."""
    work = work_of(planned(KEYED, n=1), 1)
    work.checkpoint(note)
    assert query("SELECT note FROM effects") == [("phase",)]


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        (lambda run_id: execute("UPDATE jobs SET claim_token = 'other' WHERE run_id = :r", r=run_id), "lease_lost"),
        (lambda run_id: execute("UPDATE jobs SET state = 'pending' WHERE run_id = :r", r=run_id), "lease_lost"),
        (lambda run_id: execute("UPDATE runs SET fence = fence + 1 WHERE run_id = :r", r=run_id), "fenced"),
        (lambda run_id: control.pause(run_id, Actor("t", "r")), "paused"),
        (lambda run_id: control.cancel(run_id, Actor("t", "r")), "cancelled"),
    ],
)
def test_nothing_of_it_stays_where_the_work_was_lost(lose: Callable[[str], object], reason: str) -> None:
    """And the work is told why it must stop."""
    run_id = planned(KEYED, n=1)
    work = work_of(run_id, 1)
    lose(run_id)
    with pytest.raises(WorkStopped) as stopped:
        work.checkpoint(note)
    assert stopped.value.reason == reason
    assert query("SELECT COUNT(*) FROM effects") == [(0,)]


@pytest.fixture
def before_commit(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """The first checkpoint to come waits before its COMMIT, all its locks held: ``(there, go_on)``."""
    there, go_on = threading.Event(), threading.Event()

    def hit(point: str, *_: object) -> None:
        if point == "checkpoint.before_commit" and not there.is_set():
            there.set()
            assert go_on.wait(10)

    monkeypatch.setattr("tasks.failpoints.hit", hit)
    return there, go_on


Waiting = tuple[threading.Event, threading.Event]


def test_jobs_of_one_run_do_not_wait_for_each_others_checkpoints(before_commit: Waiting) -> None:
    """The lock on the run's row is shared."""
    there, go_on = before_commit
    run_id = planned(KEYED, n=2)
    first, second = work_of(run_id, 1), work_of(run_id, 2)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(first.checkpoint, note)
        assert there.wait(5)
        pool.submit(second.checkpoint, note).result(timeout=3)
        assert not slow.done()
        go_on.set()


def test_a_pause_waits_for_a_checkpoint_that_is_under_way(before_commit: Waiting) -> None:
    """So nothing that was checkpointed is unknown to whoever paused."""
    there, go_on = before_commit
    run_id = planned(KEYED, n=1)
    work = work_of(run_id, 1)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(work.checkpoint, note)
        assert there.wait(5)
        pause = pool.submit(control.pause, run_id, Actor("t", "r"))
        with pytest.raises(TimeoutError):
            pause.result(timeout=0.5)
        go_on.set()
        pause.result(timeout=5)
    assert query("SELECT note FROM effects") == [("phase",)]
