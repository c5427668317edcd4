"""The record: the one transaction in which a claim ends, whatever its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, text

from runstate import claims, dead_letters, documents, plans, window
from runstate.claims import Claim
from runstate.completion import pass_fence
from runstate.errors import Fenced
from runstate.outcomes import Ending, Measured, Outcome, Recorded
from runstate.statuses import JobState, Role, RunStatus

_STATE = {
    Ending.DONE: JobState.DONE,
    Ending.DEAD: JobState.DEAD,
    Ending.CANCELLED: JobState.CANCELLED,
}
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
        returned = dict(outcome.effects(connection) or {})
        fail_run = returned.pop("fail_run", None)
        result = {**(outcome.result or {}), **returned}
        outcome = replace(outcome, result=result, fail_run=str(fail_run) if fail_run else outcome.fail_run)
        if returned:
            _set_result(connection, claim, result)
    next_claim = claims.take_next(connection, claim, next_token) if next_token else None
    planning = claim.role is Role.PLAN and outcome.ending is not Ending.DONE
    # Where nothing was due to be claimed, nothing is due to be let out.
    next_jobs = [] if next_token else window.let_out(connection, claim.run_id, let_out, planning=planning)
    _write_attempt(connection, claim, outcome, measured)
    status, finish_job = pass_fence(connection, claim, outcome, has_finish=has_finish)
    if outcome.further:
        # The place in the window that this job leaves is for the first of them, if nobody else took it.
        free = status is RunStatus.RUNNING and let_out > 0 and not next_jobs and next_claim is None
        taken_by = (claim, next_token) if free and next_token else None
        out, taken = plans.insert_further(connection, claim.run_id, outcome.further, let_out=free, taken_by=taken_by)
        next_jobs, next_claim = next_jobs + out, next_claim or taken
    if status not in (RunStatus.RUNNING, RunStatus.PLANNING):
        # Their rows are locked by this transaction already, so nothing is waited for after the run's lock.
        window.take_back(connection, claim.run_id, next_jobs)
        next_jobs = []
        if next_claim is not None:
            claims.give_back(connection, next_claim)
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
