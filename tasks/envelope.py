"""The way of one job through a worker: claim, keep, perform, record, and let the next one out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Connection

from runstate import claims, documents, jobs, leases
from runstate.claims import Claim
from runstate.errors import CommitUnknown, DatabaseUnavailable, Fenced
from runstate.outcomes import Ending, Measured, Outcome, Recorded
from runstate.record import record
from runstate.statuses import JobState, Role
from runstate.transaction import in_transaction
from tasks import clients, failpoints, metrics
from tasks.decide import decide
from tasks.describe import about_start
from tasks.errors import Permanent, WorkStopped
from tasks.kinds import JobKind
from tasks.lease import Kept, LeaseKeeper
from tasks.logs import bound
from tasks.memory import peak_memory_kb, reset_peak_memory
from tasks.planning import plan_run
from tasks.publish import publish_jobs
from tasks.work import ClaimedWork

log = logging.getLogger("holdfast.envelope")

MAX_RESULT_BYTES = 1024 * 1024
CLAIM_PATIENCE_S = 10
keeper = LeaseKeeper()


@dataclass(frozen=True, slots=True)
class Performed:
    """How one job ended here: ``outcome`` is None where there was nothing to record."""

    claim: Claim
    outcome: Outcome | None = None
    recorded: Recorded | None = None


def run_jobs(kind: JobKind, run_id: str, job_no: int, worker: str) -> list[Performed]:
    """Do the job of a message, and while the time slice lasts, go on with due jobs of the same run.

    A job that takes longer than ``kind.slice_s`` is the only one of its message.  An empty list: the message was late or a
    duplicate.
    Raises nothing for what a job can do wrong: that ends in the record.  Raises `DatabaseUnavailable` if MySQL stays away;
    the job then stays as it is, and the dispatcher puts it back.
    """
    until = time.monotonic() + kind.slice_s
    done: list[Performed] = []
    claim = _claim(kind, run_id, job_no, worker)
    while claim is not None:
        with bound(run_id=run_id, job_no=claim.job_no, kind=kind.name):
            performed = _run_one(kind, claim, until)
        done.append(performed)
        claim = performed.recorded.next_claim if performed.recorded else None
    return done


def _run_one(kind: JobKind, claim: Claim, until: float) -> Performed:
    failpoints.hit("claim.after_commit")
    reset_peak_memory()
    started = time.monotonic()
    with keeper.keep(claim, kind.timeout_s) as kept:
        work = ClaimedWork(kept, goes_on_until=until)
        outcome = _perform(kind, work, kept)
        if outcome is None:
            return Performed(claim)
        ended = time.monotonic()
        measured = Measured(int((ended - started) * 1000), peak_memory_kb())
        recorded = _record(kind, work, outcome, measured, go_on=ended < until)
    if recorded is None:
        return Performed(claim)
    _tell(claim, outcome, measured)
    failpoints.hit("record.after_commit")
    if recorded.next_jobs:
        publish_jobs(kind, claim.run_id, recorded.next_jobs, about=about_start(kind, claim.run_id, claim.args))
    return Performed(claim, outcome, recorded)


def _tell(claim: Claim, outcome: Outcome, measured: Measured) -> None:
    """One line an attempt, and its numbers."""
    ending, seconds = outcome.ending.value, measured.duration_ms / 1000
    fields = {
        "outcome": ending,
        "duration_ms": measured.duration_ms,
        "peak_memory_kb": measured.peak_memory_kb,
        "attempt": claim.attempts + 1,
        "error_class": outcome.error_class,
    }
    log.info("run %s job %d: %s after %.3f s", claim.run_id, claim.job_no, ending, seconds, extra={"fields": fields})
    metrics.count("holdfast_attempts_total", kind=claim.kind, outcome=ending)
    metrics.observe("holdfast_attempt_seconds", seconds, kind=claim.kind)


def _claim(kind: JobKind, run_id: str, job_no: int, worker: str) -> Claim | None:
    token = claims.new_token()

    def claim(connection: Connection) -> Claim | None:
        claimed = claims.claim(
            connection, run_id, job_no, token=token, lease_s=kind.lease_s, worker=worker, boot=clients.BOOT
        )
        failpoints.hit("claim.before_commit", connection)
        return claimed

    def committed(connection: Connection) -> Claim | None:
        return claims.find_claim(connection, run_id, job_no, token=token, lease_s=kind.lease_s, lock=True)

    return in_transaction(clients.engine(), claim, wait_for_database_s=CLAIM_PATIENCE_S, committed=committed)


def _perform(kind: JobKind, work: ClaimedWork, kept: Kept) -> Outcome | None:
    """Run the kind's function for this job's role; every way out of it becomes an outcome."""
    try:
        failpoints.hit("perform.before")
        done = _by_role(kind, work, kept)
        failpoints.hit("perform.after")
        return done
    except Fenced as fenced:
        error: BaseException = work.stopped_by(fenced)
    except (SystemExit, Exception) as raised:
        # SystemExit from a job's own code is an unknown exception like any other: the worker stays.
        error = raised
    if kept.stop_reason in ("lease_lost", "fenced") and not isinstance(error, WorkStopped):
        error = WorkStopped(kept.stop_reason, str(error))
    outcome = decide(error, work.attempt, kind)
    if outcome is None:
        log.warning("run %s job %d: stopped without a record: %s", work.run_id, work.job_no, error)
    else:
        log.info("run %s job %d: %s after %s", work.run_id, work.job_no, outcome.ending.value, outcome.error or error)
    return outcome


def _by_role(kind: JobKind, work: ClaimedWork, kept: Kept) -> Outcome:
    role = kept.claim.role
    if role is Role.PLAN:
        return plan_run(kind, work, kept)
    function = kind.perform
    if role is Role.FINISH:
        if kind.finish is None:
            raise Permanent(f"kind {kind.name!r} has no finish any more, and this run waits for one")
        function = kind.finish
    result = _checked(function(work), kind)
    return Outcome(Ending.DONE, result=result, effects=work.effects(), further=work.further)


def _checked(result: Mapping[str, Any] | None, kind: JobKind) -> dict[str, Any]:
    if result is None:
        return {}
    if not isinstance(result, Mapping):
        raise Permanent(f"kind {kind.name!r} must return a dict or None, not {type(result).__name__}")
    try:
        size = len(documents.dump(dict(result)))
    except (TypeError, ValueError) as error:
        raise Permanent(f"the result of kind {kind.name!r} is not JSON: {error}") from error
    if size > MAX_RESULT_BYTES:
        raise Permanent(f"the result of kind {kind.name!r} has {size} bytes, at most {MAX_RESULT_BYTES} are kept")
    return dict(result)


def _record(kind: JobKind, work: ClaimedWork, outcome: Outcome, measured: Measured, *, go_on: bool) -> Recorded | None:
    """Record, and where the record itself fails for the job's own reasons, record that."""
    claim = work.claim
    try:
        return _commit(kind, claim, outcome, measured, go_on=go_on)
    except SoftTimeLimitExceeded:
        # The limit struck while the result was being written: writing it again either succeeds or finds it written.
        return _record(kind, work, outcome, measured, go_on=False)
    except Fenced as fenced:
        stopped = work.stopped_by(fenced)
        log.warning("run %s job %d: not recorded: %s", claim.run_id, claim.job_no, fenced)
        after = decide(stopped, work.attempt, kind)
        return None if after is None else _commit_or_leave(kind, claim, after, measured)
    except (DatabaseUnavailable, CommitUnknown):
        raise
    except Exception as error:
        if outcome.effects is None:
            raise
        failed = decide(error, work.attempt, kind)
        assert failed is not None
        return _commit_or_leave(kind, claim, failed, measured)


def _commit_or_leave(kind: JobKind, claim: Claim, outcome: Outcome, measured: Measured) -> Recorded | None:
    try:
        return _commit(kind, claim, outcome, measured)
    except Fenced as fenced:
        log.warning("run %s job %d: left to the dispatcher: %s", claim.run_id, claim.job_no, fenced)
        return None


def _commit(kind: JobKind, claim: Claim, outcome: Outcome, measured: Measured, *, go_on: bool = False) -> Recorded:
    let_out = kind.window if claim.role is Role.PLAN else 1
    next_token = claims.new_token() if go_on and claim.role is Role.WORK and outcome.ending is Ending.DONE else None

    def steps(connection: Connection) -> Recorded:
        recorded = record(
            connection,
            claim,
            outcome,
            measured,
            let_out=let_out,
            next_token=next_token,
            has_finish=kind.finish is not None,
        )
        failpoints.hit("record.before_commit", connection)
        return recorded

    def committed(connection: Connection) -> Recorded | None:
        return find_recorded(connection, claim, outcome, next_token)

    return in_transaction(clients.engine(), steps, wait_for_database_s=kind.timeout_s, committed=committed)


def find_recorded(
    connection: Connection, claim: Claim, outcome: Outcome, next_token: str | None = None
) -> Recorded | None:
    """After a COMMIT without an answer: what was recorded, or None if nothing was.

    ``done`` with my token is success; for the endings that give the token up, the attempt's row tells.  Jobs that the lost
    answer let out have no message yet: the dispatcher publishes them.  One that was claimed with it is gone on with.
    """
    state, mine = leases.state_of(connection, claim)
    final = {Ending.DONE: JobState.DONE, Ending.DEAD: JobState.DEAD, Ending.CANCELLED: JobState.CANCELLED}.get(
        outcome.ending
    )
    done = (mine and state is final) if final else leases.has_attempt(connection, claim)
    if not done:
        return None
    next_claim = claims.find_taken(connection, claim, next_token) if next_token else None
    return Recorded(jobs.run_status(connection, claim.run_id), [], outcome.result, next_claim)
