"""Claims whose lease ran out: found here, judged as crash or lost node, ended through the one record."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from runstate.claims import Claim
from runstate.outcomes import Ending, Measured, Outcome
from runstate.statuses import Role, RunStatus

MAX_LOST_NODES = 10
WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A claim that nobody renews any more."""

    claim: Claim
    run_status: RunStatus
    node_alive: bool
    """Whether the node that held it was seen alive after it had stopped renewing."""
    lost_nodes: int
    overdue_s: float
    measured: Measured

    def outcome(self, max_crashes: int) -> Outcome:
        """Back to pending, or dead after ``max_crashes`` crashes or `MAX_LOST_NODES` lost nodes."""
        if self.run_status is RunStatus.CANCELLING:
            return Outcome(Ending.CANCELLED)
        if self.node_alive:
            crashes = self.claim.crashes + 1
            error = f"the worker process died {crashes} time(s) while it did this job (last on {self.claim.worker})"
            dead = crashes >= max_crashes
        else:
            lost = self.lost_nodes + 1
            error = f"the node was lost {lost} time(s) while it did this job (last {self.claim.worker})"
            dead = lost >= MAX_LOST_NODES
        ending = Ending.DEAD if dead else Ending.CRASHED if self.node_alive else Ending.LOST
        return Outcome(ending, error_class=WORKER_LOST, error=error)


_FIND = text(
    "SELECT j.run_id, j.job_no, j.role, j.claim_token, j.claims, j.attempts, j.crashes, j.lost_nodes, j.letter_id, j.worker,"
    " j.worker_boot, TIMESTAMPDIFF(MICROSECOND, j.claimed_at, NOW(6)) AS held_us,"
    " TIMESTAMPDIFF(MICROSECOND, j.lease_until, NOW(6)) AS overdue_us, r.kind, r.fence, r.status,"
    # A node that died with its job was last seen at least two thirds of a lease before the lease's end (a claim is renewed
    # at every third); one that lives is seen every few seconds: half a lease tells them apart.
    " COALESCE(n.boot = j.worker_boot AND n.heartbeat_at > j.lease_until - INTERVAL :half_lease_us MICROSECOND, 0) AS node_alive"
    " FROM runs r JOIN jobs j ON j.run_id = r.run_id AND j.state = 'running' AND j.lease_until < NOW(6)"
    " LEFT JOIN nodes n ON n.name = j.worker"
    " WHERE r.status IN ('planning', 'running', 'paused', 'cancelling') AND r.kind = :kind ORDER BY j.lease_until LIMIT 200"
)


def find_lost(connection: Connection, kind: str, lease_s: int) -> list[LostClaim]:
    """Claims of this kind whose lease ran out, the longest overdue first."""
    rows = connection.execute(_FIND, {"kind": kind, "half_lease_us": lease_s * 500_000}).mappings().all()
    return [
        LostClaim(
            claim=Claim(
                run_id=row["run_id"],
                job_no=row["job_no"],
                role=Role(row["role"]),
                token=row["claim_token"],
                claim_no=row["claims"],
                attempts=row["attempts"],
                crashes=row["crashes"],
                payload=None,
                kind=row["kind"],
                fence=row["fence"],
                args={},
                lease_s=lease_s,
                worker=row["worker"],
                worker_boot=row["worker_boot"],
                letter_id=row["letter_id"],
            ),
            run_status=RunStatus(row["status"]),
            node_alive=bool(row["node_alive"]),
            lost_nodes=row["lost_nodes"],
            overdue_s=row["overdue_us"] / 1e6,
            measured=Measured(duration_ms=max(0, row["held_us"] // 1000)),
        )
        for row in rows
    ]
