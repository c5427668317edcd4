"""The run's row at the end of a record: counted, fenced, and completed by whoever sees all jobs accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from runstate import documents
from runstate.claims import Claim
from runstate.errors import Fenced
from runstate.outcomes import Ending, Outcome
from runstate.statuses import Role, RunStatus

_COUNTER = {Ending.DONE: "jobs_done", Ending.DEAD: "jobs_dead", Ending.CANCELLED: "jobs_cancelled"}


def _allowed(claim: Claim, outcome: Outcome) -> str:
    if outcome.ending is Ending.CANCELLED:
        return "'cancelling'"
    return "'planning'" if claim.role is Role.PLAN else "'running', 'paused'"


def pass_fence(
    connection: Connection, claim: Claim, outcome: Outcome, *, has_finish: bool
) -> tuple[RunStatus, list[int]]:
    """Count, move the clocks, and see on the locked row whether this was the last job."""
    sets = ["heartbeat_at = NOW(6)"]
    if outcome.ending in (Ending.DONE, Ending.DEAD):
        sets.append("progress_at = NOW(6)")
    counter = _COUNTER.get(outcome.ending)
    if counter and claim.role is Role.WORK:
        sets.append(f"{counter} = {counter} + 1")
    if outcome.further:
        sets.append("jobs_total = jobs_total + :further")
    if outcome.jobs_total is not None:
        sets += ["jobs_total = :jobs_total", "status = 'running'"]
    # SET runs from left to right, so this sees the new counters; the answer comes with the UPDATE, without another trip:
    # twice the number of open jobs, plus one unless the run simply runs.
    sets.append(
        "publishes = publishes + 0 * LAST_INSERT_ID("
        "2 * GREATEST(jobs_total - jobs_done - jobs_dead - jobs_cancelled, 0) + (status <> 'running'))"
    )
    passed = connection.execute(
        text(
            f"UPDATE runs SET {', '.join(sets)} WHERE run_id = :run_id AND fence = :fence"
            f" AND status IN ({_allowed(claim, outcome)})"
        ),
        {
            "run_id": claim.run_id,
            "fence": claim.fence,
            "jobs_total": outcome.jobs_total,
            "further": len(outcome.further),
        },
    )
    if passed.rowcount != 1:
        raise Fenced(
            "run", f"run {claim.run_id} moved on from fence {claim.fence}: nothing of job {claim.job_no} was written"
        )
    open_jobs, not_plain = divmod(passed.lastrowid, 2)
    if open_jobs and not not_plain and outcome.ending is Ending.DONE and not outcome.fail_run:
        return RunStatus.RUNNING, []
    return _after_fence(connection, claim, outcome, has_finish=has_finish)


def _after_fence(
    connection: Connection, claim: Claim, outcome: Outcome, *, has_finish: bool
) -> tuple[RunStatus, list[int]]:
    """The run's row is locked: see what this ending means for the run as a whole."""
    fail_reason = outcome.fail_run
    if outcome.ending is Ending.DEAD and claim.role is not Role.WORK:
        fail_reason = f"{'planning' if claim.role is Role.PLAN else 'finish'} failed: {outcome.error}"
    if fail_reason:
        return end_run(connection, claim.run_id, RunStatus.FAILED, reason=fail_reason), []
    row = connection.execute(
        text(
            "SELECT status, jobs_total, jobs_done + jobs_dead + jobs_cancelled AS accounted FROM runs"
            " WHERE run_id = :run_id"
        ),
        {"run_id": claim.run_id},
    ).one()
    status = RunStatus(row.status)
    if status is RunStatus.RUNNING and outcome.pause_run:
        return _pause_by_system(connection, claim.run_id, outcome.pause_run), []
    if status not in (RunStatus.RUNNING, RunStatus.PAUSED) or row.accounted < row.jobs_total:
        return status, []
    if outcome.ending not in (Ending.DONE, Ending.DEAD):
        return status, []
    if claim.role is Role.FINISH:
        return end_run(connection, claim.run_id, RunStatus.COMPLETED, result=outcome.result), []
    if not has_finish:
        return end_run(connection, claim.run_id, RunStatus.COMPLETED), []
    return status, _let_finish_out(connection, claim.run_id, int(row.jobs_total) + 1, status)


def _let_finish_out(connection: Connection, run_id: str, job_no: int, status: RunStatus) -> list[int]:
    # A new row, which nobody else can hold: the one thing that may come after the run's lock.
    paused = status is RunStatus.PAUSED
    connection.execute(
        text(
            "INSERT INTO jobs (run_id, job_no, role, state, payload, queued_at, due_at, publishes)"
            " VALUES (:run_id, :job_no, 'finish', :state, '{}', NOW(6), NOW(6), 1)"
        ),
        {"run_id": run_id, "job_no": job_no, "state": "pending" if paused else "queued"},
    )
    return [] if paused else [job_no]


def _pause_by_system(connection: Connection, run_id: str, reason: str) -> RunStatus:
    connection.execute(
        text("UPDATE runs SET status = 'paused', reason = :reason WHERE run_id = :run_id"),
        {"run_id": run_id, "reason": documents.capped(reason)},
    )
    return RunStatus.PAUSED


def end_run(
    connection: Connection,
    run_id: str,
    status: RunStatus,
    *,
    reason: str | None = None,
    result: Mapping[str, Any] | None = None,
) -> RunStatus:
    """Move a run whose row this transaction holds to an ended status; its key is free with the commit.

    Jobs that are still open are cancelled afterwards, in batches, by the dispatcher (``leftovers``).
    """
    connection.execute(
        text(
            "UPDATE runs SET status = :status, finished_at = NOW(6), reason = COALESCE(:reason, reason),"
            " result = COALESCE(:result, result), leftovers = :leftovers WHERE run_id = :run_id"
        ),
        {
            "run_id": run_id,
            "status": status.value,
            "reason": documents.capped(reason),
            "result": None if result is None else documents.dump(result),
            "leftovers": 0 if status is RunStatus.COMPLETED else 1,
        },
    )
    return status
