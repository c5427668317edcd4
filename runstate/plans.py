"""The plan as rows: job 0, then the jobs that it writes, batch by batch, each closed by the fence."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from runstate import claims
from runstate.claims import Claim
from runstate.errors import Fenced
from runstate.outcomes import FurtherJob
from runstate.statuses import Role

MAX_STATEMENT_BYTES = 1_000_000

"""A 17 MiB statement is refused and a 40 MiB one looks like a lost connection: statements stay near 1 MB."""


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


def insert_further(
    connection: Connection,
    run_id: str,
    further: Sequence[FurtherJob],
    *,
    let_out: bool,
    taken_by: tuple[Claim, str] | None = None,
) -> tuple[list[int], Claim | None]:
    """Write jobs that a job asked for, once the run's row is locked and its ``jobs_total`` counts them; which are out, and
    which one is claimed.

    Their numbers follow the highest there is: new rows, which nobody else can hold, so they may come after the run's lock.

    ``let_out``   the first one that is due at once goes out right away
    ``taken_by``  the claim that ends here, and a token: its worker goes on with that one under this token, without a message
    """
    last_no = int(connection.scalar(_TOTAL, {"run_id": run_id}) or 0)
    first_no = last_no - len(further) + 1
    out = next((first_no + i for i, job in enumerate(further) if job.delay_s <= 0), None) if let_out else None
    taker = claims.taker(*taken_by) if taken_by else {}
    place = _TAKEN if taken_by else _OUT
    for start in range(0, len(further), 500):
        rows = further[start : start + 500]
        values = ", ".join(
            f"(:run_id, {first_no + start + i}, 'work', {place if first_no + start + i == out else _WAITING}, :p{i},"
            f" NOW(6) + INTERVAL :d{i} MICROSECOND)"
            for i in range(len(rows))
        )
        connection.execute(
            text(
                "INSERT INTO jobs (run_id, job_no, role, state, queued_at, publishes, claims, claim_token, claimed_at,"
                f" lease_until, worker, worker_boot, payload, due_at) VALUES {values}"
            ),
            {"run_id": run_id, **taker}
            | {f"p{i}": job.payload for i, job in enumerate(rows)}
            | {f"d{i}": int(max(job.delay_s, 0.0) * 1_000_000) for i, job in enumerate(rows)},
        )
    if out is None:
        return [], None
    if taken_by is None:
        return [out], None
    return [], claims.taken_new(*taken_by, out, further[out - first_no].payload)


_TOTAL = text("SELECT jobs_total FROM runs WHERE run_id = :run_id")
_WAITING = "'pending', NULL, 0, 0, NULL, NULL, NULL, NULL, NULL"
_OUT = "'queued', NOW(6), 1, 0, NULL, NULL, NULL, NULL, NULL"
_TAKEN = "'running', NOW(6), 0, 1, :token, NOW(6), NOW(6) + INTERVAL :lease_s SECOND, :worker, :boot"


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


def planned_total(connection: Connection, run_id: str) -> int:
    """How many jobs a run's planning has written so far, as its row says."""
    return int(
        connection.scalar(text("SELECT jobs_total FROM runs WHERE run_id = :run_id FOR UPDATE"), {"run_id": run_id})
        or 0
    )
