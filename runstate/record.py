"""The record: the one transaction in which a claim ends, whatever its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, text

from runstate import dead_letters, documents, jobs
from runstate.errors import Fenced
from runstate.jobs import Claim
from runstate.statuses import JobState, Role, RunStatus


class Ending(StrEnum):
    """How a claim can end: the closed set."""

    DONE = "done"
    """The effects are in, the job is done."""
    RETRY = "retry"
    """Failed for now: an attempt is used, it comes back at its ``due_at``."""
    SNOOZE = "snooze"
    """Not now: no attempt used."""
    DEAD = "dead"
    """Given up: a dead letter is written."""
    STOPPED = "stopped"
    """A pause stopped it: no attempt, no crash."""
    CANCELLED = "cancelled"
    """Its run was ended while it ran."""
    CRASHED = "crashed"
    """Its process died while its node lived: a crash is counted."""
    LOST = "lost"
    """Its node was lost: counted apart."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claim, as `record` stores it.

    ``delay_s``    for retry and snooze: when it is due again, counted from the database's now
    ``effects``    for done: run inside the record; what it returns is merged into ``result``
    ``fail_run``   the run fails with this reason in the same transaction; ``pause_run`` likewise, by ``system``
    """

    ending: Ending
    result: Mapping[str, Any] | None = None
    effects: Callable[[Connection], Mapping[str, Any] | None] | None = None
    delay_s: float = 0.0
    error_class: str | None = None
    error: str | None = None
    traceback: str | None = None
    fail_run: str | None = None
    pause_run: str | None = None
    jobs_total: int | None = None
    """Set by planning alone: how many work jobs the plan has."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an attempt cost."""

    duration_ms: int = 0
    peak_memory_kb: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What to do after the commit: publish ``next_jobs``, go on with ``next_claim``.

    ``status`` is the run's, ``result`` the job's.
    """

    status: RunStatus
    next_jobs: list[int]
    result: Mapping[str, Any] | None = None
    next_claim: Claim | None = None


_STATE = {
    Ending.DONE: JobState.DONE,
    Ending.DEAD: JobState.DEAD,
    Ending.CANCELLED: JobState.CANCELLED,
}
_COUNTER = {Ending.DONE: "jobs_done", Ending.DEAD: "jobs_dead", Ending.CANCELLED: "jobs_cancelled"}
_COST = {Ending.RETRY: "attempts", Ending.DEAD: "attempts", Ending.CRASHED: "crashes", Ending.LOST: "lost_nodes"}


def record(
    connection: Connection,
    claim: Claim,
    outcome: Outcome,
    measured: Measured,
    *,
    let_out: int = 1,
    next_token: str | None = None,
    has_finish: bool = False,
    only_expired: bool = False,
) -> Recorded:
    """End ``claim`` with ``outcome``: token first, fence last, everything between rolled back with either.

    ``let_out``       how many due jobs of the run may take the freed place in the window
    ``next_token``    claim one due job of the run under this token instead of letting one out
    ``has_finish``    the kind has a ``finish``: the last job lets it out instead of completing the run
    ``only_expired``  the reaper's: the claim must have run out of its lease, for it may have been renewed since it was looked at

    Raises `Fenced` when the claim or the run is no longer this worker's; the caller's transaction must then roll back.
    """
    if outcome.ending is Ending.DEAD:
        # Before the job's row: operators who replay lock the letter first, then the job.
        dead_letters.write(connection, claim, outcome)
    if claim.letter_id is not None:
        dead_letters.settle_replayed(connection, claim.letter_id, outcome.ending.value)
    _end_job(connection, claim, outcome, only_expired=only_expired)
    result = outcome.result
    if outcome.effects is not None:
        result = {**(outcome.result or {}), **(outcome.effects(connection) or {})}
        fail_run = result.pop("fail_run", None)
        if fail_run:
            outcome = replace(outcome, fail_run=str(fail_run))
        _set_result(connection, claim, result)
    next_claim = jobs.take_next(connection, claim, next_token) if next_token else None
    planning = claim.role is Role.PLAN and outcome.ending is not Ending.DONE
    next_jobs = [] if next_claim else jobs.let_out(connection, claim.run_id, let_out, planning=planning)
    _write_attempt(connection, claim, outcome, measured)
    status, finish_job = _pass_fence(connection, claim, outcome, has_finish=has_finish)
    if status not in (RunStatus.RUNNING, RunStatus.PLANNING):
        # Their rows are locked by this transaction already, so nothing is waited for after the run's lock.
        jobs.take_back(connection, claim.run_id, next_jobs)
        next_jobs = []
        if next_claim is not None:
            jobs.give_back(connection, next_claim)
            next_claim = None
    return Recorded(status, next_jobs + finish_job, result, next_claim)


def _end_job(connection: Connection, claim: Claim, outcome: Outcome, *, only_expired: bool) -> None:
    state = _STATE.get(outcome.ending, JobState.PENDING)
    cost = _COST.get(outcome.ending)
    sets = ["state = :state", "lease_until = NULL"]
    if cost:
        sets.append(f"{cost} = {cost} + 1")
    if state is JobState.PENDING:
        sets += ["claim_token = NULL", "queued_at = NULL"]
    if outcome.ending in (Ending.RETRY, Ending.SNOOZE):
        # The other endings keep their due_at: a job that was taken from its worker goes before those that never had one.
        sets.append("due_at = NOW(6) + INTERVAL :delay_us MICROSECOND")
    if outcome.error is not None:
        sets.append("last_error = :error")
    if outcome.ending is Ending.DONE:
        sets.append("result = :result")
    ended = connection.execute(
        text(
            f"UPDATE jobs SET {', '.join(sets)} WHERE run_id = :run_id AND job_no = :job_no"
            " AND claim_token = :token AND state = 'running'" + (" AND lease_until < NOW(6)" if only_expired else "")
        ),
        {
            "state": state.value,
            "delay_us": int(outcome.delay_s * 1_000_000),
            "error": documents.capped(outcome.error),
            "result": None if outcome.result is None else documents.dump(outcome.result),
            "run_id": claim.run_id,
            "job_no": claim.job_no,
            "token": claim.token,
        },
    )
    if ended.rowcount != 1:
        raise Fenced(
            "claim", f"job {claim.job_no} of run {claim.run_id} is no longer this worker's: its claim was lost"
        )


def _set_result(connection: Connection, claim: Claim, result: Mapping[str, Any]) -> None:
    connection.execute(
        text("UPDATE jobs SET result = :result WHERE run_id = :run_id AND job_no = :job_no"),
        {"result": documents.dump(result), "run_id": claim.run_id, "job_no": claim.job_no},
    )


_ATTEMPT = text(
    "INSERT INTO job_attempts (run_id, job_no, claim_no, worker, started_at, duration_ms, peak_memory_kb, outcome,"
    " error_class, error) VALUES (:run_id, :job_no, :claim_no, :worker, NOW(6) - INTERVAL :duration_us MICROSECOND,"
    " :duration_ms, :peak_memory_kb, :outcome, :error_class, :error)"
)


def _write_attempt(connection: Connection, claim: Claim, outcome: Outcome, measured: Measured) -> None:
    connection.execute(
        _ATTEMPT,
        {
            "run_id": claim.run_id,
            "job_no": claim.job_no,
            "claim_no": claim.claim_no,
            "worker": claim.worker,
            "duration_us": measured.duration_ms * 1000,
            "duration_ms": measured.duration_ms,
            "peak_memory_kb": measured.peak_memory_kb,
            "outcome": outcome.ending.value,
            "error_class": documents.capped(outcome.error_class, 191),
            "error": documents.capped(outcome.error),
        },
    )


def _allowed(claim: Claim, outcome: Outcome) -> str:
    if outcome.ending is Ending.CANCELLED:
        return "'cancelling'"
    return "'planning'" if claim.role is Role.PLAN else "'running', 'paused'"


def _pass_fence(
    connection: Connection, claim: Claim, outcome: Outcome, *, has_finish: bool
) -> tuple[RunStatus, list[int]]:
    """Count, move the clocks, and see on the locked row whether this was the last job."""
    sets = ["heartbeat_at = NOW(6)"]
    if outcome.ending in (Ending.DONE, Ending.DEAD):
        sets.append("progress_at = NOW(6)")
    counter = _COUNTER.get(outcome.ending)
    if counter and claim.role is Role.WORK:
        sets.append(f"{counter} = {counter} + 1")
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
        {"run_id": claim.run_id, "fence": claim.fence, "jobs_total": outcome.jobs_total},
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
