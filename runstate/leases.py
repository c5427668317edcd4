"""While a claim lasts: renewed, held fast for a checkpoint, looked up when a COMMIT got no answer."""

from __future__ import annotations

from sqlalchemy import Connection, text

from runstate.claims import Claim
from runstate.errors import Fenced
from runstate.statuses import JobState, Role, RunStatus


def renew(connection: Connection, claim: Claim) -> str | None:
    """Extend the lease and move the run's heartbeat; None, or why the work must stop: ``lease_lost``, ``fenced``,
    ``paused``, ``cancelled``.

    A paused or cancelled run's claim is renewed all the same: until the work has stopped, nobody else may start it.
    """
    key = {"run_id": claim.run_id, "job_no": claim.job_no, "token": claim.token, "lease_s": claim.lease_s}
    kept = connection.execute(
        text(
            "UPDATE jobs SET lease_until = NOW(6) + INTERVAL :lease_s SECOND"
            " WHERE run_id = :run_id AND job_no = :job_no AND claim_token = :token AND state = 'running'"
        ),
        key,
    )
    if kept.rowcount != 1:
        return "lease_lost"
    beat = connection.execute(
        text(
            "UPDATE runs SET heartbeat_at = NOW(6) WHERE run_id = :run_id AND fence = :fence AND status IN ('planning', 'running')"
        ),
        {"run_id": claim.run_id, "fence": claim.fence},
    )
    if beat.rowcount == 1:
        return None
    row = connection.execute(text("SELECT status, fence FROM runs WHERE run_id = :run_id"), key).one_or_none()
    if row is None or row.fence != claim.fence:
        return "fenced"
    return "paused" if row.status == RunStatus.PAUSED else "cancelled"


def is_mine(connection: Connection, claim: Claim) -> bool:
    """Whether the claim still stands; locks the job's row."""
    return (
        connection.execute(
            text(
                "SELECT 1 FROM jobs WHERE run_id = :run_id AND job_no = :job_no AND claim_token = :token"
                " AND state = 'running' FOR UPDATE"
            ),
            {"run_id": claim.run_id, "job_no": claim.job_no, "token": claim.token},
        ).one_or_none()
        is not None
    )


_HOLD = text(
    "SELECT 1 FROM jobs j JOIN runs r ON r.run_id = j.run_id WHERE j.run_id = :run_id AND j.job_no = :job_no"
    " AND j.claim_token = :token AND j.state = 'running' AND r.fence = :fence AND r.status = :status LOCK IN SHARE MODE"
)


def hold(connection: Connection, claim: Claim) -> None:
    """Close a checkpoint: share locks on the job's row, with its token, and on the run's, with status and fence.

    One statement for both, for a campaign makes one checkpoint a message.  Raises `Fenced`.
    """
    key = {"run_id": claim.run_id, "job_no": claim.job_no, "token": claim.token, "fence": claim.fence}
    status = RunStatus.PLANNING if claim.role is Role.PLAN else RunStatus.RUNNING
    if connection.execute(_HOLD, key | {"status": status.value}).one_or_none() is not None:
        return
    if not is_mine(connection, claim):
        raise Fenced("claim", f"job {claim.job_no} of run {claim.run_id} is no longer this worker's")
    raise Fenced("run", f"run {claim.run_id} does not run under fence {claim.fence} any more")


def state_of(connection: Connection, claim: Claim) -> tuple[JobState, bool]:
    """Where the claim's job stands and whether its token is still this claim's; waits for a COMMIT under way."""
    row = connection.execute(
        text("SELECT state, claim_token FROM jobs WHERE run_id = :run_id AND job_no = :job_no FOR UPDATE"),
        {"run_id": claim.run_id, "job_no": claim.job_no},
    ).one()
    return JobState(row.state), row.claim_token == claim.token


def has_attempt(connection: Connection, claim: Claim) -> bool:
    """Whether this claim's end was recorded."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM job_attempts WHERE run_id = :run_id AND job_no = :job_no AND claim_no = :claim_no)"
            ),
            {"run_id": claim.run_id, "job_no": claim.job_no, "claim_no": claim.claim_no},
        )
    )
