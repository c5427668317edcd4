"""Retention as a kind of job: ``start_purge.delay()`` forgets what ended long ago; a schedule of our own starts it each night.

One run at a time, like any other: it can be seen, paused and cancelled, and its failures are dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from runstate import purge
from runstate.old_rows import Aged, OfRuns
from runstate.purge import BATCH_ROWS, Keep
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import BadArguments
from tasks.kinds import Args, JobKind, Json, Work
from tasks.registry import kinds
from tasks.settings import settings

SLICE_S = 5.0
"""How long one job forgets before it leaves the rest to a further one."""
BATCH_RUNS = 100
BREATH_S = 0.005
"""Between two batches: whoever waits for the disk gets it."""


def parts() -> tuple[str, ...]:
    """What is forgotten, in this order: runs with all their rows, and table by table what goes by its age alone."""
    return ("runs", *(one.table for one in _aged()), "alert_notices")


def count_old(connection: Connection, keep: Keep) -> dict[str, int]:
    """How much a purge would forget now, by table (for a dry run)."""
    found = purge.count_old(connection, keep, _aged())
    for kind in kinds().values():
        for rows in kind.old_rows:
            if isinstance(rows, OfRuns):
                found[rows.table] = purge.count_of_old_runs(connection, keep, rows, kind.name)
    return found


def _aged() -> list[Aged]:
    return [*purge.AGED, *(one for kind in kinds().values() for one in kind.old_rows if isinstance(one, Aged))]


def keep_policy(args: Mapping[str, int | None]) -> Keep:
    """The settings' days, each replaced by the one that was given."""
    days = settings().keep_days
    given = {name: value for name, value in args.items() if value is not None}
    return Keep(**{**days, **given})


def purge_arguments(
    *,
    runs_days: int | None = None,
    failed_days: int | None = None,
    letters_days: int | None = None,
    audit_days: int | None = None,
) -> dict[str, Json]:
    """Days to keep, instead of the settings'.  Raises `BadArguments`."""
    given = {
        "runs_days": runs_days,
        "failed_days": failed_days,
        "letters_days": letters_days,
        "audit_days": audit_days,
    }
    for name, value in given.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise BadArguments(f"start_purge: {name}={value!r}: a whole number of days, 0 or more")
    return given


def plan_purge(_args: Args) -> Iterator[Json]:
    """A job for each part; each goes on in further jobs while there is more."""
    for part in parts():
        yield {"part": part}


def purge_slice(work: Work) -> Mapping[str, Json]:
    """Forget for `SLICE_S`, batch by batch, then leave the rest to a further job."""
    keep = keep_policy(work.args)
    until = time.monotonic() + SLICE_S
    forgotten = 0
    for gone in batches(work.payload["part"], keep):
        forgotten += gone
        work.stop_if_asked()
        if time.monotonic() >= until:
            work.add_job(work.payload)
            break
    return {"part": work.payload["part"], "rows": forgotten}


def finish_purge(work: Work) -> Mapping[str, Json]:
    """How many rows were forgotten, by part."""
    totals = dict.fromkeys(parts(), 0)
    for result in work.job_results():
        totals[result["part"]] += result["rows"]
    return totals


def batches(part: str, keep: Keep) -> Iterator[int]:
    """Forget batch after batch, each in a transaction of its own, until nothing old is left: how many rows each had."""
    steps: dict[str, Callable[[], int]] = {
        "runs": partial(_forget_of_runs, keep),
        "alert_notices": partial(_forget, lambda c: purge.forget_notices(c, keep)),
    }
    steps |= {one.table: partial(_forget, partial(_forget_aged, one, keep)) for one in _aged()}
    step = steps[part]
    while gone := step():
        yield gone
        time.sleep(BREATH_S)


def _forget(forget: Callable[[Connection], int]) -> int:
    return in_transaction(clients.engine(), forget)


def _forget_aged(rows: Aged, keep: Keep, connection: Connection) -> int:
    return rows.forget(connection, keep.values(), BATCH_ROWS)


def _forget_of_runs(keep: Keep) -> int:
    """One batch: rows of the oldest runs, or, when they have none left, these runs themselves; 0 when no old run is left."""

    def take(connection: Connection) -> dict[str, str]:
        marked = purge.marked_runs(connection, BATCH_RUNS)
        if marked:
            return marked
        old = purge.old_runs(connection, keep, BATCH_RUNS)
        return {run_id: old[run_id] for run_id in purge.mark(connection, list(old))}

    # Marked in a transaction of its own: whoever locks a run's row locks nothing after it.
    old = in_transaction(clients.engine(), take)
    marked = list(old)

    def forget(connection: Connection) -> int:
        gone = purge.forget_rows(connection, marked)
        for name in {old[run_id] for run_id in marked}:
            gone = gone or _forget_of_kind(connection, name, [run_id for run_id in marked if old[run_id] == name])
        return gone or purge.forget_runs(connection, marked)

    return in_transaction(clients.engine(), forget) if marked else 0


def _forget_of_kind(connection: Connection, name: str, run_ids: Sequence[str]) -> int:
    kind = kinds().get(name)
    if kind is None:
        return 0
    for rows in kind.old_rows:
        if isinstance(rows, OfRuns) and (gone := rows.forget(connection, run_ids, BATCH_ROWS)):
            return gone
    return 0 if kind.forget is None else kind.forget(connection, run_ids, BATCH_ROWS)


PURGE = JobKind(
    name="purge",
    queue="control",
    arguments=purge_arguments,
    admission_key=lambda _args: "purge",
    plan=plan_purge,
    perform=purge_slice,
    finish=finish_purge,
    window=1,
    describe_start=lambda _args: "forget what ended long ago",
    describe_job=lambda _args, payload: f"old {payload['part']}",
)
