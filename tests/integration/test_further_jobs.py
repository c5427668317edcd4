"""Further jobs: what a job asks for becomes part of its run, once, with the job itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from runstate.audit import Actor
from runstate.outcomes import Ending
from runstate.statuses import JobState, RunStatus
from tasks import control
from tasks.dispatcher import Dispatcher
from tasks.envelope import run_jobs
from tests.integration.machinery import execute, job, planned, query, queued, run_of, work_off
from tests.kinds import FINISHING, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


def once(point: str, act: Callable[[], object]) -> Callable[..., None]:
    """A failpoint that acts the first time it is passed."""
    left = [point]

    def hit(passed: str, *_: object) -> None:
        if passed in left:
            left.remove(passed)
            act()

    return hit


CHAIN = {"note": "1", "further": [{"note": "2", "further": [{"note": "3"}]}]}


def test_a_job_is_followed_by_the_one_that_it_asks_for() -> None:
    """A page after a page: each is done, and only the last completes the run."""
    run_id = planned(FINISHING, jobs=[CHAIN])
    work_off(FINISHING, run_id)
    run = run_of(run_id)
    assert (run.status, run.jobs_total, run.jobs_done, run.result) == (RunStatus.COMPLETED, 3, 3, {"done": 3})
    assert query("SELECT job_no, note FROM effects ORDER BY job_no") == [(1, "1"), (2, "2"), (3, "3")]
    assert job(run_id, 4).role == "finish"


def test_the_next_one_goes_out_at_once() -> None:
    """Where the time slice is over, the record lets it out itself: a chain of pages does not wait for the dispatcher."""
    run_id = planned(KEYED, jobs=[CHAIN])
    run_jobs(replace(KEYED, slice_s=0), run_id, 1, "test")
    assert queued(run_id) == [2]
    assert job(run_id, 2).publishes == 1


def test_the_worker_that_asked_for_it_goes_on_with_it() -> None:
    """Within the time slice the record claims it as well: no message, no other worker between two pages."""
    run_id = planned(KEYED, jobs=[CHAIN])
    performed = run_jobs(KEYED, run_id, 1, "test")
    assert [each.claim.job_no for each in performed] == [1, 2, 3]
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert [(job(run_id, no).claims, job(run_id, no).publishes) for no in (2, 3)] == [(1, 0), (1, 0)]
    assert query("SELECT job_no, claim_no, outcome FROM job_attempts WHERE job_no > 0 ORDER BY job_no") == [
        (no, 1, "done") for no in (1, 2, 3)
    ]


def test_one_that_was_due_before_is_gone_on_with_first() -> None:
    """The record claims one job and no more: the new one waits for its turn, in nobody's hands."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "new"}]}, {"note": "old"}])
    execute("UPDATE jobs SET state = 'pending', queued_at = NULL WHERE job_no = 2")
    performed = run_jobs(KEYED, run_id, 1, "test")
    assert [each.claim.job_no for each in performed] == [1, 2, 3]
    assert run_of(run_id).status is RunStatus.COMPLETED


def test_a_deferred_one_is_not_gone_on_with() -> None:
    """What is due later is nobody's yet, and the first that is due is taken."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "later", "due_in_s": 60}, {"note": "now"}]}])
    performed = run_jobs(KEYED, run_id, 1, "test")
    assert [each.claim.job_no for each in performed] == [1, 3]
    assert job(run_id, 2).state == JobState.PENDING


@pytest.mark.usefixtures("broker_url")
def test_a_worker_that_dies_as_it_goes_on_is_found_by_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim that the record made runs out like any other, and the job is done by somebody else, once."""
    run_id = planned(KEYED, jobs=[CHAIN])

    def die() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.failpoints.hit", once("record.after_commit", die))
    with pytest.raises(KeyboardInterrupt):
        run_jobs(KEYED, run_id, 1, "test")
    taken = job(run_id, 2)
    assert (taken.state, taken.claims, taken.worker) == (JobState.RUNNING, 1, "test")
    assert taken.lease_until > taken.claimed_at
    execute("UPDATE jobs SET lease_until = NOW(6) - INTERVAL 1 SECOND WHERE job_no = 2")
    dispatcher = Dispatcher()
    dispatcher.round()
    dispatcher._connected_at = 0.0
    dispatcher.put_back_lost_claims()
    work_off(KEYED, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert query("SELECT job_no, note FROM effects ORDER BY job_no") == [(1, "1"), (2, "2"), (3, "3")]


def test_a_deferred_one_waits_for_its_time_and_holds_the_run() -> None:
    """due_in_s counts from the record; the run is not completed before it is done."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "later", "due_in_s": 3600}]}])
    work_off(KEYED, run_id)
    run, later = run_of(run_id), job(run_id, 2)
    assert (run.status, run.jobs_total, run.jobs_done) == (RunStatus.RUNNING, 2, 1)
    assert later.state == JobState.PENDING
    assert 3590 < query("SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at) FROM jobs WHERE job_no = 2")[0][0] <= 3600


def test_a_job_that_fails_asks_for_nothing() -> None:
    """Nothing of an attempt that did not end done is kept; the attempt that does asks once."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "x"}], "fails": 1}])
    (tried,) = run_jobs(KEYED, run_id, 1, "test")
    assert tried.outcome is not None
    assert (tried.outcome.ending, run_of(run_id).jobs_total) == (Ending.RETRY, 1)
    execute("UPDATE jobs SET state = 'queued' WHERE job_no = 1")
    work_off(KEYED, run_id)
    assert run_of(run_id).jobs_total == 2


def test_a_worker_that_lost_its_run_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fence holds for further jobs as for every other write."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "x"}]}])

    def take_the_run_over() -> None:
        execute("UPDATE runs SET fence = fence + 1 WHERE run_id = :r", r=run_id)

    monkeypatch.setattr("tasks.failpoints.hit", once("perform.after", take_the_run_over))
    run_jobs(KEYED, run_id, 1, "test")
    assert query("SELECT COUNT(*) FROM jobs WHERE run_id = :r AND job_no > 1", r=run_id) == [(0,)]
    assert run_of(run_id).jobs_total == 1


def test_jobs_at_the_same_time_ask_without_sharing_a_number() -> None:
    """Forty jobs in four threads ask for three each: 160 jobs, numbered 1 to 160, each done once."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": str(n)} for n in range(3)]}] * 40)

    def work(_: int) -> None:
        while run_of(run_id).status is RunStatus.RUNNING:
            for number in queued(run_id):
                run_jobs(KEYED, run_id, number, "test")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    run = run_of(run_id)
    assert (run.status, run.jobs_total, run.jobs_done) == (RunStatus.COMPLETED, 160, 160)
    assert query("SELECT COUNT(*), COUNT(DISTINCT job_no), MAX(job_no) FROM effects") == [(160, 160, 160)]


def test_a_run_that_was_paused_meanwhile_keeps_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written, pending, and go out when the run is resumed."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "x"}]}])
    monkeypatch.setattr("tasks.failpoints.hit", once("perform.after", lambda: control.pause(run_id, Actor("t", "r"))))
    run_jobs(KEYED, run_id, 1, "test")
    assert (run_of(run_id).status, job(run_id, 2).state) == (RunStatus.PAUSED, JobState.PENDING)


def test_a_payload_that_is_too_long_is_told_to_the_job_that_asked() -> None:
    """A dead letter of the asking job, with what to do; nothing of the other is written."""
    run_id = planned(KEYED, jobs=[{"further": [{"note": "1"}]}])
    execute("UPDATE jobs SET payload = JSON_SET(payload, '$.further[0].ballast', REPEAT('y', 66000)) WHERE job_no = 1")
    work_off(KEYED, run_id)
    assert "at most 65536 fit" in query("SELECT error FROM dead_letters")[0][0]
    assert run_of(run_id).jobs_total == 1
