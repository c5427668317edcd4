"""``apply_plan.delay(plan_id)``: what a plan says, and nothing else.  An entry whose state has moved is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from runstate import runs
from runstate.errors import NotFound as RunNotFound
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import FailRun
from tasks.kinds import Args, Backoff, JobKind, Json, Work
from tasks.sync import links, outbox, plan_entries
from tasks.sync.arguments import apply_arguments
from tasks.sync.connector import Record
from tasks.sync.decisions import Decision, Do, Seen, decide
from tasks.sync.effects import Scene, apply, note_pushes
from tasks.sync.entity_locks import entities_held
from tasks.sync.kind import SYNC
from tasks.sync.links import Pair
from tasks.sync.local import Row
from tasks.sync.missing import delete_decided
from tasks.sync.observe import read_records
from tasks.sync.plan_entries import BEGUN, Entry, entry_of
from tasks.sync.push import push
from tasks.sync.report import application_report
from tasks.sync.scenes import calling, failing_the_run, scene_for

BATCH = 50


def plan_application(args: Args) -> Iterator[Json]:
    """Batches of the plan's entries."""
    pair = _pair_of(args["plan_id"])
    after = 0
    while True:
        with clients.engine().connect() as connection:
            some = plan_entries.read(connection, args["plan_id"], after=after, open_only=True, limit=BATCH)
        if some:
            yield {"after": after, "upto": some[-1].id, **pair._asdict()}
        if len(some) < BATCH:
            return
        after = some[-1].id


def _pair_of(plan_id: str) -> Pair:
    try:
        run = in_transaction(clients.engine(), lambda c: runs.get(c, plan_id))
    except RunNotFound as error:
        raise FailRun(f"there is no plan {plan_id}: give the id of a run with dry_run=True") from error
    if run.kind != SYNC.name or not run.args.get("dry_run"):
        raise FailRun(f"run {plan_id} made no plan: it is of kind {run.kind}, and not a dry run")
    if run.finished_at is None:
        raise FailRun(f"run {plan_id} is still {run.status}: a plan is whole once its run has ended")
    if run.status != RunStatus.COMPLETED:
        raise FailRun(f"run {plan_id} is {run.status}, so its plan is not whole: make a new one")
    return Pair(run.args["connection"], run.args["kind"])


def perform_application(work: Work) -> Mapping[str, Json]:
    """Check each entry of a batch against what is there now, and do what it says."""
    payload = work.payload
    with failing_the_run():
        scene = scene_for(work, payload["connection"], payload["kind"])
    with work.engine.connect() as connection:
        entries = plan_entries.read(
            connection, work.args["plan_id"], after=payload["after"], upto=payload["upto"], open_only=True
        )
    counts: Counter[str] = Counter()
    with failing_the_run(), calling(work, scene):
        # One by one: what is not to be merged again needs no round of many.
        for entry in entries:
            work.stop_if_asked()
            counts[_apply_entry(work, scene, entry)] += 1
    return dict(counts)


def _apply_entry(work: Work, scene: Scene, entry: Entry) -> str:
    read_at = work.checkpoint(links.now)
    seen = _read(scene, entry)
    asked = [outbox.Entry(0, entry.entity, 0, None)]
    with entities_held(clients.redis(), scene.pair, asked, clients.who()) as (mine, _):
        if not mine:
            work.checkpoint(lambda c: plan_entries.settle(c, entry.id, "refused", "somebody else is writing it"))
            return "refused"
        reason, pushes = work.checkpoint(lambda c: _local_side(c, scene, entry, seen, read_at))
        if reason is None and pushes:
            done = push(scene, pushes, work.checkpoint, deletes=True, merge_again=False)
            if done.stopped is not None:
                raise done.stopped
            with work.engine.connect() as connection:
                left = outbox.states(connection, [one.id for one in pushes])
            if left:
                reason = "the record moved, or was refused, while it was written; the next run goes on"
    status = "applied" if reason is None else "refused"
    work.checkpoint(lambda c: plan_entries.settle(c, entry.id, status, reason))
    return status


def _read(scene: Scene, entry: Entry) -> Seen | None:
    """The record as it is now; None where the plan has none."""
    if entry.remote_id is None:
        return None
    record = scene.connector.get(entry.remote_id) or Record(entry.remote_id, {}, deleted=True)
    found = read_records(scene, [record])
    return found.seen[0] if found.seen else None


def _local_side(
    connection: Connection, scene: Scene, entry: Entry, seen: Seen | None, read_at: Any
) -> tuple[str | None, Sequence[outbox.Entry]]:
    """Do the table's side, in one transaction with the check; why not, or the outbox's entries for the API's side."""
    decision = _decide(connection, scene, entry, seen, read_at)
    now = entry_of(decision, seen)
    if now is None:
        # Begun, and then done by somebody else from the outbox: it is what the plan says.
        return (None if entry.status == BEGUN else "there is nothing to do any more"), ()
    moved = entry.same_as(now)
    if moved is not None:
        return moved, ()
    if decision.local is Do.DELETE:
        delete_decided(connection, scene, [decision])
        return None, ()
    counts = apply(connection, scene, [decision])
    if counts["rejected"]:
        return "the table refuses it", ()
    if decision.remote is Do.NOTHING:
        return None, ()
    note_pushes(connection, scene, [decision])
    plan_entries.begin(connection, entry.id)
    return None, outbox.find(connection, scene.pair, [f"l:{_local_id(decision)}"])


def _local_id(decision: Decision) -> str | None:
    if decision.row is not None:
        return decision.row.id
    return decision.link.local_id if decision.link is not None else None


def _decide(connection: Connection, scene: Scene, entry: Entry, seen: Seen | None, read_at: Any) -> Decision:
    link = None
    if entry.local_id is not None:
        link = links.by_local(connection, scene.pair, [entry.local_id]).get(entry.local_id)
    if link is None and entry.remote_id is not None:
        # A record that was linked to another row meanwhile, too.
        link = links.by_remote(connection, scene.pair, [entry.remote_id]).get(entry.remote_id)
    row: Row | None = None
    if entry.local_id is not None:
        row = scene.table.read(connection, [entry.local_id], lock=True).get(entry.local_id)
    return decide(scene.kind, link, row, seen, read_at)


def finish_application(work: Work) -> Mapping[str, Json]:
    """How many entries were applied and refused."""
    totals: Counter[str] = Counter()
    for result in work.job_results():
        totals.update({name: value for name, value in result.items() if isinstance(value, int)})
    return dict(totals)


APPLY_PLAN = JobKind(
    name="sync_apply",
    queue="sync",
    start_name="apply_plan",
    arguments=apply_arguments,
    admission_key=lambda args: str(args["plan_id"]),
    plan=plan_application,
    perform=perform_application,
    finish=finish_application,
    report=application_report,
    describe_start=lambda args: f"plan {args['plan_id']}",
    backoff=Backoff(max_attempts=8, base_s=1, cap_s=300),
)
