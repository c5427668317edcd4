"""Job rows: written by planning, let out into the window, claimed, renewed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, text

from runstate import documents
from runstate.errors import Fenced
from runstate.statuses import JobState, Role, RunStatus

MAX_STATEMENT_BYTES = 1_000_000
"""A 17 MiB statement is refused and a 40 MiB one looks like a lost connection: statements stay near 1 MB."""


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


def insert_job_zero(connection: Connection, run_id: str) -> None:
    """Job 0, the planning, is let out together with the admission."""
    connection.execute(
        text(
            "INSERT INTO jobs (run_id, job_no, role, state, payload, queued_at, due_at, publishes)"
            " VALUES (:run_id, 0, 'plan', 'queued', '{}', NOW(6), NOW(6), 1)"
        ),
        {"run_id": run_id},
    )


def insert_planned(
    connection: Connection, run_id: str, first_no: int, payloads: Sequence[str], *, role: Role = Role.WORK
) -> None:
    """Write jobs ``first_no, first_no + 1, …`` with these payloads (JSON texts), pending and due at once."""
    for start in range(0, len(payloads), 500):
        rows = payloads[start : start + 500]
        values = ", ".join(
            f"(:run_id, {first_no + start + i}, :role, 'pending', :p{i}, NOW(6))" for i in range(len(rows))
        )
        connection.execute(
            text(f"INSERT INTO jobs (run_id, job_no, role, state, payload, due_at) VALUES {values}"),
            {"run_id": run_id, "role": role.value} | {f"p{i}": payload for i, payload in enumerate(rows)},
        )


def delete_planned(connection: Connection, run_id: str, *, most: int = 5000) -> int:
    """Forget up to ``most`` jobs that a lost planner wrote: a takeover plans again from the start."""
    return connection.execute(
        text("DELETE FROM jobs WHERE run_id = :run_id AND job_no > 0 ORDER BY run_id, job_no LIMIT :most"),
        {"run_id": run_id, "most": most},
    ).rowcount


def hold_planning(connection: Connection, claim: Claim, jobs_total: int) -> None:
    """Close a batch of planning: the claim first (its row is locked), the run's fence last.  Raises `Fenced`."""
    passed = connection.execute(
        text(
            "UPDATE runs SET jobs_total = :jobs_total, progress_at = NOW(6), heartbeat_at = NOW(6)"
            " WHERE run_id = :run_id AND fence = :fence AND status = 'planning'"
        ),
        {"run_id": claim.run_id, "fence": claim.fence, "jobs_total": jobs_total},
    )
    if passed.rowcount != 1:
        raise Fenced("run", f"run {claim.run_id} is no longer being planned under fence {claim.fence}")


def hold_run(connection: Connection, claim: Claim) -> None:
    """Close a checkpoint: share lock on the run's row, with status and fence.  Raises `Fenced`."""
    allowed = "'planning'" if claim.role is Role.PLAN else "'running'"
    if (
        connection.execute(
            text(
                f"SELECT 1 FROM runs WHERE run_id = :run_id AND fence = :fence AND status IN ({allowed}) LOCK IN SHARE MODE"
            ),
            {"run_id": claim.run_id, "fence": claim.fence},
        ).one_or_none()
        is None
    ):
        raise Fenced("run", f"run {claim.run_id} does not run under fence {claim.fence} any more")


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


def state_of(connection: Connection, claim: Claim) -> tuple[JobState, bool]:
    """Where the claim's job stands and whether its token is still this claim's; waits for a COMMIT under way."""
    row = connection.execute(
        text("SELECT state, claim_token FROM jobs WHERE run_id = :run_id AND job_no = :job_no FOR UPDATE"),
        {"run_id": claim.run_id, "job_no": claim.job_no},
    ).one()
    return JobState(row.state), row.claim_token == claim.token


_NEXT_DUE = text(
    # While a run is being planned only its planning may go out: half-planned jobs would bounce off their claims and fill
    # the window, and a planner that took over would never get its turn.
    "SELECT job_no FROM jobs WHERE run_id = :run_id AND state = 'pending' AND due_at <= NOW(6)"
    " AND (job_no = 0 OR NOT :planning) ORDER BY due_at, job_no LIMIT :most FOR UPDATE SKIP LOCKED"
)
_LET_OUT = text(
    "UPDATE jobs SET state = 'queued', queued_at = NOW(6), publishes = 1 WHERE run_id = :run_id AND job_no IN :job_nos"
).bindparams(bindparam("job_nos", expanding=True))


_TAKE_BACK = text(
    "UPDATE jobs SET state = 'pending', queued_at = NULL WHERE run_id = :run_id AND job_no IN :job_nos AND state = 'queued'"
).bindparams(bindparam("job_nos", expanding=True))


def let_out(connection: Connection, run_id: str, most: int, *, planning: bool = False) -> list[int]:
    """Move up to ``most`` due jobs of a run from pending to queued; publish them after the commit.

    ``planning``  the run is still being planned: only job 0 may go out
    """
    if most <= 0:
        return []
    job_nos = [row[0] for row in connection.execute(_NEXT_DUE, {"run_id": run_id, "most": most, "planning": planning})]
    if job_nos:
        connection.execute(_LET_OUT, {"run_id": run_id, "job_nos": job_nos})
    return job_nos


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
    connection.execute(
        _TAKE,
        {
            "run_id": before.run_id,
            "job_no": row.job_no,
            "token": token,
            "lease_s": before.lease_s,
            "worker": before.worker,
            "boot": before.worker_boot,
        },
    )
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


def take_back(connection: Connection, run_id: str, job_nos: Sequence[int]) -> None:
    """queued → pending for jobs that this transaction let out: their run does not run at the moment."""
    if job_nos:
        connection.execute(_TAKE_BACK, {"run_id": run_id, "job_nos": list(job_nos)})


def give_back(connection: Connection, claim: Claim) -> None:
    """running → pending for a claim that was never worked on: its run does not run at the moment."""
    connection.execute(_PUT_BACK, {"run_id": claim.run_id, "job_no": claim.job_no, "token": claim.token})


def results(connection: Connection, run_id: str, *, batch: int = 500) -> Iterator[dict[str, Any]]:
    """Every done work job's result, in order of job number, ``batch`` rows in memory at a time."""
    after = 0
    while True:
        rows = connection.execute(
            text(
                "SELECT job_no, result FROM jobs WHERE run_id = :run_id AND role = 'work' AND state = 'done'"
                " AND job_no > :after ORDER BY job_no LIMIT :batch"
            ),
            {"run_id": run_id, "after": after, "batch": batch},
        ).all()
        for row in rows:
            yield documents.load(row.result) or {}
        if len(rows) < batch:
            return
        after = rows[-1].job_no


def result_of(connection: Connection, run_id: str, job_no: int) -> dict[str, Any]:
    """One job's recorded result, ``{}`` where there is none."""
    found = connection.scalar(
        text("SELECT result FROM jobs WHERE run_id = :run_id AND job_no = :job_no"),
        {"run_id": run_id, "job_no": job_no},
    )
    return documents.load(found) or {}


def planned_total(connection: Connection, run_id: str) -> int:
    """How many jobs a run's planning has written so far, as its row says."""
    return int(
        connection.scalar(text("SELECT jobs_total FROM runs WHERE run_id = :run_id FOR UPDATE"), {"run_id": run_id})
        or 0
    )


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


def run_status(connection: Connection, run_id: str) -> RunStatus:
    """Where the run stands."""
    return RunStatus(connection.scalar(text("SELECT status FROM runs WHERE run_id = :run_id"), {"run_id": run_id}))


def find_taken(connection: Connection, before: Claim, token: str) -> Claim | None:
    """The claim that `take_next` made under this token, after a COMMIT without an answer."""
    job_no = connection.scalar(
        text("SELECT job_no FROM jobs WHERE run_id = :run_id AND state = 'running' AND claim_token = :token"),
        {"run_id": before.run_id, "token": token},
    )
    if job_no is None:
        return None
    return find_claim(connection, before.run_id, job_no, token=token, lease_s=before.lease_s)


def is_done(connection: Connection, run_id: str, job_no: int) -> bool:
    """Whether a job was recorded as done."""
    found = connection.scalar(
        text("SELECT state FROM jobs WHERE run_id = :run_id AND job_no = :job_no"), {"run_id": run_id, "job_no": job_no}
    )
    return bool(found == JobState.DONE.value)
