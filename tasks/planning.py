"""Planning, job 0: the kind's plan is streamed into job rows, batch by batch, each closed by the fence."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection

from runstate import jobs, leases, plans, replays, runs
from runstate.errors import Fenced
from runstate.outcomes import Ending, Outcome
from runstate.plans import MAX_STATEMENT_BYTES
from runstate.runs import Run
from runstate.transaction import in_transaction
from tasks import clients, failpoints
from tasks.kinds import JobKind
from tasks.lease import Kept
from tasks.work import ClaimedWork, payload_text

BATCH_JOBS = 500


def plan_run(kind: JobKind, work: ClaimedWork, kept: Kept) -> Outcome:
    """Write the plan's jobs and say how many there are; constant memory, however long the plan.

    A planner that takes over from a lost one starts again: first what that one wrote is deleted.
    Raises `Permanent` for a payload that is no JSON or too large, and whatever the kind's ``plan`` raises.
    """
    while _in_planning(kept, lambda c: plans.delete_planned(c, work.run_id), total=0, repeatable=True):
        kept.stop_if_asked()
    run = in_transaction(clients.engine(), lambda c: runs.get(c, work.run_id))
    if run.replay is not None and _parent_was_planned(run):
        return _plan_replay(run, kept)
    returned: dict[str, Any] = {}
    total = 0
    for batch in _batches(_texts(kind.plan(work.args), kind, returned)):
        kept.stop_if_asked()
        first_no = total + 1
        _in_planning(
            kept,
            partial(_insert, run_id=work.run_id, first_no=first_no, payloads=batch),
            total=total + len(batch),
        )
        total += len(batch)
    # A replayed planning resolves the letter of the planning that failed.
    settle = partial(replays.settle_planning, run_id=run.run_id) if run.replay is not None else None
    return Outcome(Ending.DONE, result=returned, jobs_total=total, effects=settle)


def _parent_was_planned(run: Run) -> bool:
    return in_transaction(clients.engine(), lambda c: jobs.is_done(c, run.parent_run_id or "", 0))


def _plan_replay(run: Run, kept: Kept) -> Outcome:
    """A replay's plan: the letters taken for it and, for "the rest", the jobs that its parent never did.

    Its jobs see what the parent's plan returned.
    """
    parent_id = run.parent_run_id or ""
    returned = in_transaction(clients.engine(), lambda c: jobs.result_of(c, parent_id, 0))
    per_s = (run.replay or {}).get("per_s")
    total, after = 0, (0, 0)
    while page := in_transaction(
        clients.engine(),
        lambda c, a=after: replays.sources(c, run, after=a, most=BATCH_JOBS),  # type: ignore[misc]
    ):
        kept.stop_if_asked()
        batch = [source for _, source in page]
        _in_planning(
            kept,
            partial(replays.insert_replayed, run_id=run.run_id, first_no=total + 1, batch=batch, per_s=per_s),
            total=total + len(batch),
        )
        total, after = total + len(batch), page[-1][0]
    return Outcome(Ending.DONE, result=returned, jobs_total=total)


def _insert(connection: Connection, *, run_id: str, first_no: int, payloads: list[str]) -> None:
    plans.insert_planned(connection, run_id, first_no, payloads)


def _in_planning(kept: Kept, write: Callable[[Connection], Any], *, total: int, repeatable: bool = False) -> Any:
    """One batch: the claim's row first, the batch, the run's fence last."""
    claim = kept.claim

    def steps(connection: Connection) -> Any:
        if not leases.is_mine(connection, claim):
            raise Fenced("claim", f"the planning of run {claim.run_id} is no longer this worker's")
        written = write(connection)
        plans.hold_planning(connection, claim, total)
        failpoints.hit("plan.batch", connection)
        return written

    def committed(connection: Connection) -> Any:
        # The same rows again would be refused by their primary key; whether they are there tells.
        return True if not repeatable and plans.planned_total(connection, claim.run_id) == total else None

    return in_transaction(clients.engine(), steps, wait_for_database_s=claim.lease_s, committed=committed)


def _texts(plan: Iterable[Any], kind: JobKind, returned: dict[str, Any]) -> Iterator[str]:
    """The plan's payloads as JSON texts; what a generator returns goes into ``returned``."""
    for number, payload in enumerate(_with_return(plan, returned), start=1):
        yield payload_text(payload, f"plan of kind {kind.name!r}, job {number}")


def _with_return(plan: Iterable[Any], returned: dict[str, Any]) -> Generator[Any, None, None]:
    # An iterator that is no generator returns nothing.
    result: object = yield from plan  # type: ignore[func-returns-value]
    if isinstance(result, Mapping):
        returned.update(result)


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == BATCH_JOBS or size + len(text) > MAX_STATEMENT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
