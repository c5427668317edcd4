"""The window: which due jobs of a run are let out to become messages, so many at once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

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


def take_back(connection: Connection, run_id: str, job_nos: Sequence[int]) -> None:
    """queued → pending for jobs that this transaction let out: their run does not run at the moment."""
    if job_nos:
        connection.execute(_TAKE_BACK, {"run_id": run_id, "job_nos": list(job_nos)})
