"""The way of a job: claim, perform, record, and what every ending leaves behind."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from runstate import claims, plans, sweep
from runstate.errors import Fenced
from runstate.outcomes import Ending, Measured, Outcome
from runstate.record import record
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.envelope import run_jobs
from tests.integration.machinery import admitted, execute, job, planned, query, queued, run_of, work_off
from tests.kinds import FINISHING, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


def claim(run_id: str, job_no: int) -> claims.Claim | None:
    """Claim as a worker would, and commit."""
    return in_transaction(
        clients.engine(),
        lambda c: claims.claim(c, run_id, job_no, token=claims.new_token(), lease_s=3, worker="w", boot="b" * 8),
    )


def put_due(run_id: str) -> list[int]:
    """What the dispatcher does once a retry is due: let it out."""
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 SECOND WHERE run_id = :r AND state = 'pending'", r=run_id)
    return in_transaction(clients.engine(), lambda c: sweep.let_out(c, run_id, 100))


def test_every_job_is_done_once_and_the_last_completes_the_run() -> None:
    """Nine jobs through a window of four: each effect once, counters equal to the ledger, run completed."""
    run_id = planned(KEYED, n=9)
    assert queued(run_id) == [1, 2, 3, 4]
    work_off(KEYED, run_id)
    run = run_of(run_id)
    assert (run.status, run.jobs_total, run.jobs_done) == (RunStatus.COMPLETED, 9, 9)
    assert query("SELECT COUNT(*), COUNT(DISTINCT job_no) FROM effects") == [(9, 9)]
    assert query("SELECT COUNT(*) FROM job_attempts WHERE outcome = 'done'") == [(10,)]


def test_a_plan_without_jobs_completes_the_run() -> None:
    """Nothing to do is done."""
    assert run_of(planned(KEYED, n=0)).status is RunStatus.COMPLETED


def test_finish_runs_once_after_the_last_job_and_its_result_is_the_runs() -> None:
    """finish is let out by whoever sees all jobs accounted for, and completes the run."""
    run_id = planned(FINISHING, n=5)
    work_off(FINISHING, run_id)
    run = run_of(run_id)
    assert (run.status, run.result) == (RunStatus.COMPLETED, {"done": 5})
    assert query("SELECT role, COUNT(*) FROM jobs GROUP BY role ORDER BY role") == [
        ("finish", 1),
        ("plan", 1),
        ("work", 5),
    ]
    assert run.jobs_done == 5


def test_finish_of_an_empty_plan_runs_too() -> None:
    """A run without jobs still has its finish."""
    run_id = planned(FINISHING, n=0)
    work_off(FINISHING, run_id)
    assert run_of(run_id).result == {"done": 0}


def test_jobs_see_what_the_plan_returned() -> None:
    """The plan generator's return value is job 0's result."""
    run_id = planned(KEYED, n=1)
    assert "planned_by" in json.loads(job(run_id, 0).result)


def test_duplicate_and_late_messages_do_nothing() -> None:
    """A message for a job that is done, unknown, or of no run is answered with nothing."""
    run_id = planned(KEYED, n=1)
    assert len(run_jobs(KEYED, run_id, 1, "w")) == 1
    assert run_jobs(KEYED, run_id, 1, "w") == []
    assert run_jobs(KEYED, run_id, 77, "w") == []
    assert run_jobs(KEYED, "00000000-0000-0000-0000-000000000000", 1, "w") == []
    assert query("SELECT COUNT(*) FROM effects") == [(1,)]


def test_only_one_of_two_claims_gets_the_job() -> None:
    """The second message of a claimed job finds nothing to claim."""
    run_id = planned(KEYED, n=1)
    assert claim(run_id, 1) is not None
    assert claim(run_id, 1) is None


def test_a_job_of_a_paused_run_goes_back_to_pending() -> None:
    """A claim on a run that does not run is given back at no cost."""
    run_id = planned(KEYED, n=1)
    execute("UPDATE runs SET status = 'paused'")
    assert claim(run_id, 1) is None
    row = job(run_id, 1)
    assert (row.state, row.claims, row.attempts, row.crashes) == ("pending", 0, 0, 0)


def test_a_worker_that_lost_its_claim_writes_nothing() -> None:
    """A stolen claim: the late worker's record rolls back with all its effects."""
    run_id = planned(KEYED, n=1)
    mine = claim(run_id, 1)
    assert mine is not None
    execute("UPDATE jobs SET claim_token = :t WHERE job_no = 1", t="0" * 32)
    before = run_of(run_id)

    def effects(connection: Any) -> dict[str, Any]:
        connection.exec_driver_sql("INSERT INTO effects VALUES ('late', 1, 'late')")
        return {}

    with pytest.raises(Fenced) as fenced:
        in_transaction(clients.engine(), lambda c: record(c, mine, Outcome(Ending.DONE, effects=effects), Measured()))
    assert fenced.value.what == "claim"
    assert query("SELECT COUNT(*) FROM effects") == [(0,)]
    assert run_of(run_id).jobs_done == before.jobs_done


@pytest.mark.parametrize("change", ["fence = fence + 1", "status = 'failed'", "status = 'cancelling'"])
def test_a_worker_whose_run_moved_on_writes_nothing(change: str) -> None:
    """After a recovery or a cancel the fence, last in the record, rolls everything back."""
    run_id = planned(KEYED, n=1)
    mine = claim(run_id, 1)
    assert mine is not None
    execute(f"UPDATE runs SET {change}")

    def effects(connection: Any) -> dict[str, Any]:
        connection.exec_driver_sql("INSERT INTO effects VALUES ('late', 1, 'late')")
        return {}

    with pytest.raises(Fenced) as fenced:
        in_transaction(clients.engine(), lambda c: record(c, mine, Outcome(Ending.DONE, effects=effects), Measured()))
    assert fenced.value.what == "run"
    assert query("SELECT COUNT(*) FROM effects") == [(0,)]
    assert job(run_id, 1).state == "running"


def test_failures_are_retried_with_attempts_counted() -> None:
    """Two failures and a success: three attempts on record, one effect, no crash."""
    run_id = planned(KEYED, jobs=[{"fails": 2}])
    for _ in range(3):
        assert queued(run_id) == [1]
        run_jobs(KEYED, run_id, 1, "w")
        put_due(run_id)
    row = job(run_id, 1)
    assert (row.state, row.attempts, row.crashes, row.claims) == ("done", 2, 0, 3)
    assert query("SELECT outcome FROM job_attempts WHERE job_no = 1 ORDER BY claim_no") == [
        ("retry",),
        ("retry",),
        ("done",),
    ]
    assert query("SELECT COUNT(*) FROM effects") == [(1,)]


def test_a_retry_waits_in_due_at() -> None:
    """A retry is pending with a later due_at, never earlier than the other side asked."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "retry", "delay_s": 120}])
    run_jobs(KEYED, run_id, 1, "w")
    wait_s = query("SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at), state FROM jobs WHERE job_no = 1")[0]
    assert 110 <= wait_s[0] <= 120
    assert wait_s[1] == "pending"
    assert queued(run_id) == []


def test_exhausted_attempts_leave_a_dead_letter_with_its_traceback_and_the_run_completes() -> None:
    """After max_attempts: one dead letter, in the transaction that made the job dead; the others go on."""
    run_id = planned(KEYED, jobs=[{"fails": 99, "message": "no 4711 such thing"}, {}])
    for _ in range(4):
        work_off(KEYED, run_id)
        put_due(run_id)
    letters = query(
        "SELECT run_id, job_no, kind, error_class, error, traceback, attempts, status, payload FROM dead_letters"
    )
    assert len(letters) == 1
    letter = letters[0]
    assert (letter.run_id, letter.job_no, letter.kind, letter.attempts, letter.status) == (
        run_id,
        1,
        "keyed",
        3,
        "dead",
    )
    assert "no 4711 such thing" in letter.error
    assert "ValueError" in letter.error_class
    assert "_raise" in letter.traceback
    run = run_of(run_id)
    assert (run.status, run.jobs_done, run.jobs_dead) == (RunStatus.COMPLETED, 1, 1)


@pytest.mark.parametrize("error", ["permanent", "fail_run"])
def test_permanent_errors_die_at_once(error: str) -> None:
    """No second attempt where the job says that there is no use; fail_run ends the run as well."""
    run_id = planned(KEYED, jobs=[{"fails": 9, "error": error, "message": "no use"}, {}])
    run_jobs(KEYED, run_id, 1, "w")
    assert job(run_id, 1).state == "dead"
    assert query("SELECT attempts FROM dead_letters") == [(1,)]
    assert run_of(run_id).status is (RunStatus.FAILED if error == "fail_run" else RunStatus.RUNNING)


def test_snooze_costs_no_attempt() -> None:
    """Not now: pending again, attempts unchanged."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "snooze"}])
    run_jobs(KEYED, run_id, 1, "w")
    row = job(run_id, 1)
    assert (row.state, row.attempts, row.crashes) == ("pending", 0, 0)


def test_resource_trouble_pauses_the_run() -> None:
    """A full disk is nobody's failure: the run is paused by system, with the reason, and no attempt is used."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "resource", "message": "disk full"}])
    run_jobs(KEYED, run_id, 1, "w")
    run = run_of(run_id)
    assert run.status is RunStatus.PAUSED
    assert "disk full" in (run.reason or "")
    assert job(run_id, 1).attempts == 0


def test_system_exit_in_a_job_is_an_error_like_any_other() -> None:
    """The worker stays; the job is retried."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "exit"}])
    run_jobs(KEYED, run_id, 1, "w")
    assert job(run_id, 1).attempts == 1


def test_effects_that_fail_leave_nothing_and_use_an_attempt() -> None:
    """An error inside the record rolls all of it back, and is then recorded as the job's failure."""
    run_id = planned(KEYED, jobs=[{"effects_fail": True}])
    run_jobs(KEYED, run_id, 1, "w")
    assert query("SELECT COUNT(*) FROM effects") == [(0,)]
    row = job(run_id, 1)
    assert (row.state, row.attempts) == ("pending", 1)
    assert "the effects failed" in row.last_error


def test_a_threshold_crossed_in_the_effects_fails_the_run_and_keeps_the_job() -> None:
    """fail_run from the effects: this job's work stays, the run fails, what is open is cancelled by the dispatcher."""
    run_id = planned(KEYED, jobs=[{"fail_run": "too much"}, {}, {}])
    run_jobs(KEYED, run_id, 1, "w")
    run = run_of(run_id)
    assert (run.status, run.reason, run.jobs_done) == (RunStatus.FAILED, "too much", 1)
    in_transaction(clients.engine(), lambda c: sweep.cancel_open_jobs(c, run_id))
    assert in_transaction(clients.engine(), lambda c: sweep.close_cleared(c, run_id))
    run = run_of(run_id)
    assert (run.jobs_cancelled, run.jobs_open) == (2, 0)


def test_planning_that_fails_for_good_fails_the_run() -> None:
    """Job 0 becomes a dead letter and the run says why; its key is free."""
    run_id = planned(KEYED, plan_error="the file is not there")
    run = run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert "the file is not there" in (run.reason or "")
    assert query("SELECT job_no FROM dead_letters") == [(0,)]
    assert run_of(admitted(KEYED, n=1)).status is RunStatus.PLANNING


def test_a_takeover_of_planning_starts_from_nothing() -> None:
    """What a lost planner wrote is deleted before the plan is written again."""
    run_id = admitted(KEYED, n=700)
    execute(
        "INSERT INTO jobs (run_id, job_no, role, state, payload, due_at) VALUES (:r, 1, 'work', 'pending', '{}', NOW(6)),"
        " (:r, 901, 'work', 'pending', '{}', NOW(6))",
        r=run_id,
    )
    run_jobs(KEYED, run_id, 0, "w")
    assert run_of(run_id).jobs_total == 700
    assert query("SELECT COUNT(*), MAX(job_no) FROM jobs WHERE role = 'work'") == [(700, 700)]


def test_a_planner_whose_run_is_cancelled_stops_at_its_next_batch() -> None:
    """The fence closes every batch of planning."""
    run_id = admitted(KEYED, n=10)
    mine = claim(run_id, 0)
    assert mine is not None
    execute("UPDATE runs SET status = 'cancelling'")
    with pytest.raises(Fenced):
        in_transaction(clients.engine(), lambda c: plans.hold_planning(c, mine, 10))


def test_short_jobs_go_on_without_messages_and_the_window_holds() -> None:
    """Within the time slice a worker takes due jobs of its run itself, and no more than the window is ever out."""
    run_id = planned(KEYED, n=12)
    done = run_jobs(KEYED, run_id, 1, "w")
    assert [performed.claim.job_no for performed in done] == [1, 5, 6, 7, 8, 9, 10, 11, 12]
    assert queued(run_id) == [2, 3, 4]
    assert all(p.claim.token != q.claim.token for p, q in pairwise(done))


def test_a_job_taken_along_is_given_back_when_the_run_was_paused() -> None:
    """The record of a job that was under way passes; the next one is not started."""
    run_id = planned(KEYED, jobs=[{}] * 6)
    mine = claim(run_id, 1)
    assert mine is not None
    execute("UPDATE runs SET status = 'paused'")
    recorded = in_transaction(
        clients.engine(), lambda c: record(c, mine, Outcome(Ending.DONE), Measured(), next_token=claims.new_token())
    )
    assert recorded.next_claim is None
    assert (job(run_id, 5).state, job(run_id, 5).claims) == ("pending", 0)
    assert run_of(run_id).jobs_done == 1
