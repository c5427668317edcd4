"""Claims: a job taken into a worker's hands, and the token that proves whose hands they are."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, text

from runstate import documents
from runstate.statuses import Role, RunStatus


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in this worker's hands: what it is, and the token that proves the hands are ours."""

    run_id: str
    job_no: int
    role: Role
    token: str
    claim_no: int
    attempts: int
    crashes: int
    payload: Any
    kind: str
    fence: int
    args: Mapping[str, Any]
    lease_s: int
    worker: str
    worker_boot: str
    letter_id: int | None = None


_CLAIM = text(
    "UPDATE jobs SET state = 'running', claim_token = :token, claimed_at = NOW(6),"
    " lease_until = NOW(6) + INTERVAL :lease_s SECOND, claims = claims + 1, worker = :worker, worker_boot = :boot"
    " WHERE run_id = :run_id AND job_no = :job_no AND state = 'queued'"
)


_PUT_BACK = text(
    "UPDATE jobs SET state = 'pending', claims = claims - 1, claim_token = NULL, lease_until = NULL, queued_at = NULL"
    " WHERE run_id = :run_id AND job_no = :job_no AND claim_token = :token"
)


_CLAIMED = text(
    "SELECT j.role, j.claims, j.attempts, j.crashes, j.payload, j.letter_id, j.worker, j.worker_boot,"
    " r.kind, r.fence, r.status, r.args FROM jobs j JOIN runs r ON r.run_id = j.run_id"
    " WHERE j.run_id = :run_id AND j.job_no = :job_no AND j.claim_token = :token"
)


def new_token() -> str:
    """A claim's token: made before the transaction, so that a COMMIT without an answer can be resolved by it."""
    return secrets.token_hex(16)


def claim(
    connection: Connection, run_id: str, job_no: int, *, token: str, lease_s: int, worker: str, boot: str
) -> Claim | None:
    """Take a queued job of a run that runs; None for a duplicate or late message, or a run that does not run.

    Must be followed by a commit. If the run does not run at the moment (paused), the job goes back to ``pending``; a lost
    claim (``running`` with its lease run out) is the dispatcher's to judge, which counts what it cost.
    """
    key = {"run_id": run_id, "job_no": job_no}
    taken = connection.execute(_CLAIM, key | {"token": token, "lease_s": lease_s, "worker": worker, "boot": boot})
    if taken.rowcount != 1:
        return None
    found = find_claim(connection, run_id, job_no, token=token, lease_s=lease_s)
    if found is None:
        connection.execute(_PUT_BACK, key | {"token": token})
    return found


def find_claim(
    connection: Connection, run_id: str, job_no: int, *, token: str, lease_s: int, lock: bool = False
) -> Claim | None:
    """The claim with this token, or None if there is none or its run does not run.

    ``lock``  after a COMMIT without an answer: wait for it, for it may still be under way
    """
    if lock:
        connection.execute(
            text("SELECT 1 FROM jobs WHERE run_id = :run_id AND job_no = :job_no FOR UPDATE"),
            {"run_id": run_id, "job_no": job_no},
        )
    row = connection.execute(_CLAIMED, {"run_id": run_id, "job_no": job_no, "token": token}).mappings().one_or_none()
    if row is None:
        return None
    role = Role(row["role"])
    if row["status"] != (RunStatus.PLANNING if role is Role.PLAN else RunStatus.RUNNING):
        return None
    return Claim(
        run_id=run_id,
        job_no=job_no,
        role=role,
        token=token,
        claim_no=row["claims"],
        attempts=row["attempts"],
        crashes=row["crashes"],
        payload=documents.load(row["payload"]),
        kind=row["kind"],
        fence=row["fence"],
        args=documents.load(row["args"]),
        lease_s=lease_s,
        worker=row["worker"],
        worker_boot=row["worker_boot"],
        letter_id=row["letter_id"],
    )


_NEXT_WHOLE = text(
    "SELECT job_no, role, payload, claims, attempts, crashes, letter_id FROM jobs WHERE run_id = :run_id"
    " AND state = 'pending' AND due_at <= NOW(6) ORDER BY due_at, job_no LIMIT 1 FOR UPDATE SKIP LOCKED"
)


_TAKE = text(
    "UPDATE jobs SET state = 'running', claim_token = :token, claimed_at = NOW(6), queued_at = NOW(6),"
    " lease_until = NOW(6) + INTERVAL :lease_s SECOND, claims = claims + 1, worker = :worker, worker_boot = :boot"
    " WHERE run_id = :run_id AND job_no = :job_no AND state = 'pending'"
)


def take_next(connection: Connection, before: Claim, token: str) -> Claim | None:
    """Claim the run's next due job in the transaction that records ``before``: it takes that one's place in the window.

    A worker with short jobs so needs no message, no second transaction and no broker between two of them.
    """
    row = connection.execute(_NEXT_WHOLE, {"run_id": before.run_id}).one_or_none()
    if row is None:
        return None
    connection.execute(_TAKE, {"run_id": before.run_id, "job_no": row.job_no} | taker(before, token))
    return replace(
        before,
        job_no=row.job_no,
        role=Role(row.role),
        token=token,
        claim_no=row.claims + 1,
        attempts=row.attempts,
        crashes=row.crashes,
        payload=documents.load(row.payload),
        letter_id=row.letter_id,
    )


def taker(before: Claim, token: str) -> dict[str, Any]:
    """What a job's row says of who takes it: the worker of ``before``, under this token."""
    return {"token": token, "lease_s": before.lease_s, "worker": before.worker, "boot": before.worker_boot}


def taken_new(before: Claim, token: str, job_no: int, payload: str) -> Claim:
    """The claim on a further job that was written as taken: its first."""
    return replace(
        before,
        job_no=job_no,
        role=Role.WORK,
        token=token,
        claim_no=1,
        attempts=0,
        crashes=0,
        payload=documents.load(payload),
        letter_id=None,
    )


def find_taken(connection: Connection, before: Claim, token: str) -> Claim | None:
    """The claim that `take_next` made under this token, after a COMMIT without an answer."""
    job_no = connection.scalar(
        text("SELECT job_no FROM jobs WHERE run_id = :run_id AND state = 'running' AND claim_token = :token"),
        {"run_id": before.run_id, "token": token},
    )
    if job_no is None:
        return None
    return find_claim(connection, before.run_id, job_no, token=token, lease_s=before.lease_s)


def give_back(connection: Connection, claim: Claim) -> None:
    """running → pending for a claim that was never worked on: its run does not run at the moment."""
    connection.execute(_PUT_BACK, {"run_id": claim.run_id, "job_no": claim.job_no, "token": claim.token})
