"""Replay as the tables see it: letters taken, put back into their active run, or planned into a run of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from runstate.errors import RunstateError
from runstate.runs import Run


class ReplayRefused(RunstateError):
    """The letters cannot be replayed as things stand; they stay ``dead``."""


class NewerRun(ReplayRefused):
    """A newer run of the key has completed since: replaying would put older work over it."""

    def __init__(self, run_id: str, newer_run_id: str) -> None:
        super().__init__(
            f"run {newer_run_id} of the same key has completed since run {run_id}; replaying would put older work over it. "
            "--over-newer does it all the same"
        )
        self.run_id = run_id
        self.newer_run_id = newer_run_id


@dataclass(frozen=True, slots=True)
class Source:
    """A job to be planned again: its payload as edited, if it was, and the letter that it resolves."""

    payload: str
    letter_id: int | None


def take_letters(connection: Connection, letter_ids: Sequence[int], replay_run_id: str, actor: str) -> list[int]:
    """dead → replaying for these letters; whoever comes second gets none of them."""
    taken = []
    for letter_id in sorted(letter_ids):
        done = connection.execute(
            text(
                "UPDATE dead_letters SET status = 'replaying', replay_run_id = :replay_run_id, resolved_by = :actor"
                " WHERE id = :id AND status = 'dead'"
            ),
            {"id": letter_id, "replay_run_id": replay_run_id, "actor": actor},
        )
        if done.rowcount == 1:
            taken.append(letter_id)
    return taken


def revive_in_run(connection: Connection, run: Run, letter_ids: Sequence[int]) -> int:
    """dead → pending for the jobs of taken letters, within their active run; returns how many.  Lock order: letters (taken
    before), jobs, the run's row last, with its status and fence, and only while no finish was let out.
    """
    revived = connection.execute(
        text(
            "UPDATE jobs j JOIN dead_letters l ON l.run_id = j.run_id AND l.job_no = j.job_no"
            " SET j.state = 'pending', j.attempts = 0, j.crashes = 0, j.lost_nodes = 0, j.claim_token = NULL,"
            " j.due_at = NOW(6), j.queued_at = NULL, j.letter_id = l.id, j.payload = COALESCE(l.edited_payload, l.payload)"
            " WHERE l.id IN :ids AND j.run_id = :run_id AND j.state = 'dead' AND j.role = 'work'"
        ).bindparams(bindparam("ids", expanding=True)),
        {"ids": list(letter_ids), "run_id": run.run_id},
    ).rowcount
    moved = connection.execute(
        text(
            "UPDATE runs r SET r.jobs_dead = r.jobs_dead - :revived WHERE r.run_id = :run_id AND r.fence = :fence"
            " AND r.status IN ('running', 'paused') AND r.jobs_dead >= :revived"
            " AND NOT EXISTS (SELECT 1 FROM jobs f WHERE f.run_id = r.run_id AND f.role = 'finish')"
        ),
        {"revived": revived, "run_id": run.run_id, "fence": run.fence},
    ).rowcount
    if moved != 1:
        raise ReplayRefused(f"run {run.run_id} is about to end: replay its letters once it has ended")
    return revived


def newer_completed(connection: Connection, run: Run) -> str | None:
    """A run of the same key that was admitted later and completed, replays of this very run apart."""
    if run.admission_hash is None:
        return None
    newer: str | None = connection.scalar(
        text(
            "SELECT run_id FROM runs WHERE admission_hash = :admission_hash AND status = 'completed' AND fence > :fence"
            " AND (parent_run_id IS NULL OR parent_run_id <> :run_id) ORDER BY fence DESC LIMIT 1"
        ),
        {"admission_hash": run.admission_hash, "fence": run.fence, "run_id": run.run_id},
    )
    return newer


def sources(
    connection: Connection, replay_run: Run, *, after: tuple[int, int], most: int
) -> list[tuple[tuple[int, int], Source]]:
    """A page of what a replay run has to do, with the place to go on from: left-over jobs of the parent (if it is to do
    "the rest"), then the letters taken for it.
    """
    page: list[tuple[tuple[int, int], Source]] = []
    stage, last = after
    wants: Any = replay_run.replay or {}
    if stage == 0 and wants.get("rest"):
        rows = connection.execute(
            text(
                "SELECT job_no, payload FROM jobs WHERE run_id = :parent AND role = 'work' AND job_no > :last"
                " AND state IN ('cancelled', 'pending', 'queued', 'running') ORDER BY job_no LIMIT :most"
            ),
            {"parent": replay_run.parent_run_id, "last": last, "most": most},
        ).all()
        page = [((0, row.job_no), Source(row.payload, None)) for row in rows]
    if len(page) < most:
        rows = connection.execute(
            text(
                "SELECT id, COALESCE(edited_payload, payload) AS payload FROM dead_letters"
                " WHERE replay_run_id = :run_id AND status = 'replaying' AND id > :last ORDER BY id LIMIT :most"
            ),
            {"run_id": replay_run.run_id, "last": last if stage == 1 else 0, "most": most - len(page)},
        ).all()
        page += [((1, row.id), Source(row.payload, row.id)) for row in rows]
    return page


def insert_replayed(
    connection: Connection, run_id: str, first_no: int, batch: Sequence[Source], *, per_s: float | None
) -> None:
    """Write the jobs of a replay run; with ``per_s`` they fall due one after another at that rate."""
    for offset, source in enumerate(batch):
        number = first_no + offset
        connection.execute(
            text(
                "INSERT INTO jobs (run_id, job_no, role, state, payload, due_at, letter_id)"
                " VALUES (:run_id, :job_no, 'work', 'pending', :payload, NOW(6) + INTERVAL :wait_us MICROSECOND, :letter_id)"
            ),
            {
                "run_id": run_id,
                "job_no": number,
                "payload": source.payload,
                "letter_id": source.letter_id,
                "wait_us": 0 if per_s is None else int((number - 1) / per_s * 1e6),
            },
        )


def settle_planning(connection: Connection, *, run_id: str) -> None:
    """replaying → replayed for the letter of a planning that was done again in this run."""
    connection.execute(
        text(
            "UPDATE dead_letters SET status = 'replayed', resolved_at = NOW(6)"
            " WHERE replay_run_id = :run_id AND job_no = 0 AND status = 'replaying'"
        ),
        {"run_id": run_id},
    )


def holds_finish(connection: Connection, letter_ids: Sequence[int]) -> bool:
    """Whether one of these letters is of a run's ``finish``."""
    return bool(
        connection.scalar(
            text(
                "SELECT EXISTS (SELECT 1 FROM dead_letters l JOIN jobs j ON j.run_id = l.run_id AND j.job_no = l.job_no"
                " WHERE l.id IN :ids AND j.role = 'finish')"
            ).bindparams(bindparam("ids", expanding=True)),
            {"ids": list(letter_ids) or [0]},
        )
    )


def release_letters(connection: Connection) -> int:
    """replaying → dead for letters whose replay run ended without having done them (refused, failed, cancelled)."""
    ended = connection.execute(
        text(
            "SELECT l.id FROM dead_letters l JOIN runs r ON r.run_id = l.replay_run_id WHERE l.status = 'replaying'"
            " AND (r.status IN ('refused', 'failed', 'cancelled', 'completed') AND r.leftovers = 0) LIMIT 1000"
        )
    ).all()
    released = 0
    for row in ended:
        released += connection.execute(
            text(
                "UPDATE dead_letters SET status = 'dead', resolved_by = NULL WHERE id = :id AND status = 'replaying'"
                " AND EXISTS (SELECT 1 FROM runs r WHERE r.run_id = replay_run_id AND r.leftovers = 0"
                " AND r.status IN ('refused', 'failed', 'cancelled', 'completed'))"
            ),
            {"id": row.id},
        ).rowcount
    return released
