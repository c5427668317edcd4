"""What waits and what runs, kind by kind."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from runstate.active import ActiveRun, Starts, active_runs, later_jobs, waiting_starts


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits and runs of one kind; ages in seconds, None where there is nothing.

    ``requested``      starts that wait for admission;     ``requested_age_s`` of the one that waits longest
    ``due``            jobs pending in MySQL, due by now;   ``later`` those due later, where
                       very many are both exact in sum only (`runstate.active.MOST_COUNTED`)
    ``queued``         jobs that are out as messages;       ``running`` those in a worker's hands
    ``due_age_s``      how long the oldest job that is due or queued has been due
    ``moved_age_s``    since a job of an active run of this kind was last claimed, renewed or recorded
    """

    kind: str
    requested: int
    requested_age_s: float | None
    due: int
    later: int
    queued: int
    running: int
    due_age_s: float | None
    moved_age_s: float | None


def backlog(connection: Connection) -> list[Backlog]:
    """What waits and runs, by kind; kinds without any are left out.  Looks at so many runs as `active_runs` does."""
    of_kind: dict[str, list[ActiveRun]] = {}
    for run in active_runs(connection):
        of_kind.setdefault(run.kind, []).append(run)
    starts = waiting_starts(connection)
    return [
        _of_kind(connection, kind, of_kind.get(kind, []), starts.get(kind))
        for kind in sorted(of_kind.keys() | starts.keys())
    ]


def _of_kind(connection: Connection, kind: str, runs: list[ActiveRun], starts: Starts | None) -> Backlog:
    later = sum(later_jobs(connection, run) for run in runs)
    return Backlog(
        kind=kind,
        requested=starts.count if starts else 0,
        requested_age_s=starts.age_s if starts else None,
        due=sum(run.pending for run in runs) - later,
        later=later,
        queued=sum(run.queued for run in runs),
        running=sum(run.running for run in runs),
        due_age_s=max((run.due_age_s for run in runs if run.due_age_s is not None), default=None),
        moved_age_s=min((run.moved_age_s for run in runs if run.moved_age_s is not None), default=None),
    )
