"""The API sync as a kind of job: the module that knows of runs, and ties the steps to the machinery.

A run is a chain of short jobs: settle what a crash left open, pull page after page, look for what is missing, scan, delete
behind the guard, and then push batches side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from locks.limits import RateLimiter
from tasks import clients
from tasks.errors import LOOK_AGAIN_S, FailRun, PauseRun, Permanent, Retry, Snooze
from tasks.kinds import Args, Backoff, JobKind, Json, Work
from tasks.sync import cursors, ledger, links, outbox, plan_entries
from tasks.sync.arguments import declared, sync_arguments
from tasks.sync.connections import connection_named, connector_of
from tasks.sync.connector import NotFound, RateLimited, Rejected, RemoteError, Unavailable, Unusable
from tasks.sync.dry_run import entries_of_outbox, entries_of_page, entries_of_rows
from tasks.sync.effects import Scene
from tasks.sync.entity_locks import entities_held
from tasks.sync.errors import NotNow, SyncError, TooManyDeletes
from tasks.sync.gate import gated
from tasks.sync.guard import check_deletes
from tasks.sync.links import Pair
from tasks.sync.local import LocalTable, local_table
from tasks.sync.missing import BATCH, confirm_missing, count_missing, delete_rows
from tasks.sync.observe import look, observe
from tasks.sync.plan_entries import Entry
from tasks.sync.pull import Listed, list_page, take_in
from tasks.sync.push import Pushed, push
from tasks.sync.scan import scan_links, scan_rows
from tasks.sync.shared_gate import SharedGate

DEFAULT_WAIT_S = 30.0
"""How long to wait after a 429 that does not say how long."""
HELD_WAIT_S = 2.0
LEFT_WAIT_S = 1.0
SORT_JOBS = 200
STEPS = {"both": ("pull", "scan", "deletes", "sort"), "pull": ("pull", "deletes"), "push": ("scan", "deletes", "sort")}


def plan_sync_run(_args: Args) -> Iterator[Json]:
    """The first step; each step asks for the next one."""
    yield {"do": "settle"}


def perform_sync(work: Work) -> Mapping[str, Json]:
    """Do one step."""
    with failing_the_run():
        scene = scene_for(work, work.args["connection"], work.args["kind"])
    step = _STEPS[work.payload["do"]]
    with failing_the_run(), calling(work, scene):
        return step(work, scene)


# -- the steps ------------------------------------------------------------------------------------------------------------


def _settle(work: Work, scene: Scene) -> Mapping[str, Json]:
    """Find out what became of writes that were begun and never recorded, before anything is listed: a record that one of
    them made must be linked, not taken for a new one.
    """
    with work.engine.connect() as connection:
        begun = outbox.begun(connection, scene.pair)
    if not begun or work.args["dry_run"]:
        _next_step(work, None)
        return {}
    with entities_held(clients.redis(), scene.pair, begun, clients.who()) as (mine, others):
        pushed = push(scene, mine, work.checkpoint, deletes=False)
    if pushed.stopped is not None:
        raise pushed.stopped
    if others:
        raise Snooze(f"{len(others)} entities are being written by somebody else", delay_s=HELD_WAIT_S)
    _next_step(work, None)
    return dict(pushed.counts)


def _pull(work: Work, scene: Scene) -> Mapping[str, Json]:
    payload = work.payload
    with work.engine.connect() as connection:
        read_at = links.now(connection)
        if "cursor" in payload:
            cursor, full = payload["cursor"], payload["full"]
        else:
            cursor, full = _begin(connection, work, scene)
    listed = list_page(scene, cursor, full=full, read_at=read_at)
    page = listed.page
    # Where some pieces could not be read, or the API did not list what it was asked for, absence says nothing.
    sure = payload.get("sure", True) and not page.unreadable and not page.filter_ignored
    if page.next_cursor is not None:
        began = payload.get("began") or read_at.isoformat()
        work.add_job({"do": "pull", "cursor": page.next_cursor, "full": full, "began": began, "sure": sure})
    elif page.full and sure:
        work.add_job({"do": "missing", "after": 0, "began": payload.get("began") or read_at.isoformat()})
    else:
        _next_step(work, "pull")
    if work.args["dry_run"]:
        work.on_record(lambda c: _foresee_page(c, scene, listed))
    else:
        work.on_record(lambda c: dict(take_in(c, scene, listed)))
    return {}


def _foresee_page(connection: Connection, scene: Scene, listed: Listed) -> dict[str, Json]:
    looked = look(connection, scene, listed.read, read_at=listed.read_at)
    if listed.page.full:
        links.mark_seen(connection, (x.id for x in looked.known.values() if x.id is not None), scene.run_id)
    return _foreseen(connection, scene, entries_of_page(looked, listed.read))


def _foreseen(connection: Connection, scene: Scene, entries: Sequence[Entry]) -> dict[str, Json]:
    plan_entries.store(connection, scene.run_id, entries)
    return {"planned": len(entries)}


def _begin(connection: Connection, work: Work, scene: Scene) -> tuple[Any, bool]:
    kept = cursors.read(connection, scene.pair)
    every = scene.kind.full_every_s
    due = every is not None and (kept.full_age_s is None or kept.full_age_s >= every)
    return kept.position, bool(work.args["full"] or due)


def _missing(work: Work, scene: Scene) -> Mapping[str, Json]:
    """What a full listing did not have is asked for one by one, if the guard lets it; what is gone is staged."""
    began, after = datetime.fromisoformat(work.payload["began"]), work.payload["after"]
    with work.engine.connect() as connection:
        read_at = links.now(connection)
        if after == 0 and not (work.args["allow_deletes"] or work.args["dry_run"]):
            missing, known = count_missing(connection, scene, began)
            if scene.kind.may_delete("local"):
                check_deletes(scene.kind, missing, known, where="rows", listed_nothing=missing == known)
        some = links.unseen(connection, scene.pair, work.run_id, before=began, after=after, limit=BATCH)
    found = confirm_missing(scene, some)
    last = len(some) < BATCH
    if last:
        _next_step(work, "pull")
    else:
        work.add_job({**work.payload, "after": some[-1].id})

    def effects(connection: Connection) -> dict[str, Json]:
        if work.args["dry_run"]:
            return _foreseen(connection, scene, entries_of_page(look(connection, scene, found, read_at=read_at), found))
        counts = observe(connection, scene, found, read_at=read_at)
        if last:
            kept = cursors.read(connection, scene.pair)
            cursors.move(connection, scene.pair, kept.position, work.run_id, listed_all=True)
        return {"missing": len(some), **{name: counts[name] for name in ("created", "updated", "rejected")}}

    work.on_record(effects)
    return {}


def _scan(work: Work, scene: Scene) -> Mapping[str, Json]:
    if not (scene.kind.scan or work.args["full"]):
        _next_step(work, "scan")
        return {}
    payload = work.payload
    of = payload.get("of", "rows")
    with work.engine.connect() as connection:
        if of == "rows":
            scanned = scan_rows(connection, scene, payload.get("after"))
        else:
            scanned = scan_links(connection, scene, payload.get("after") or 0)
    if scanned.after is not None:
        work.add_job({"do": "scan", "of": of, "after": scanned.after})
    elif of == "rows":
        work.add_job({"do": "scan", "of": "links"})
    else:
        _next_step(work, "scan")
    if work.args["dry_run"]:
        local_ids = [entity[2:] for entity in scanned.entities]
        work.on_record(lambda c: _foreseen(c, scene, entries_of_rows(c, scene, local_ids)))
        return {"scanned": scanned.rows}
    # What was refused as it is waits for a change or for a full run.
    again = bool(work.args["full"])
    work.on_record(lambda c: outbox.add(c, scene.pair, scanned.entities, again=again))
    return {"scanned": scanned.rows, "found_by_scan": len(scanned.entities)}


def _deletes(work: Work, scene: Scene) -> Mapping[str, Json]:
    """Delete rows whose records are gone: all of them counted first, then batch by batch."""
    after = work.payload.get("after", 0)
    if not scene.kind.may_delete("local") or work.args["dry_run"]:
        _next_step(work, "deletes")
        return {}
    with work.engine.connect() as connection:
        if after == 0 and not work.args["allow_deletes"]:
            known = links.count(connection, scene.pair)
            check_deletes(scene.kind, known["gone"], known["links"], where="rows")
        some = links.gone(connection, scene.pair, after=after, limit=BATCH)
        connection.rollback()
    if len(some) == BATCH:
        work.add_job({"do": "deletes", "after": some[-1].id})
    else:
        _next_step(work, "deletes")
    if some:
        work.on_record(lambda c: dict(delete_rows(c, scene, after)[0]))
    return {}


def _sort(work: Work, scene: Scene) -> Mapping[str, Json]:
    """Cut the outbox into batches; before the first, count what would be deleted at the API."""
    payload = work.payload
    if work.args["dry_run"]:
        with work.engine.connect() as connection:
            entries, after = entries_of_outbox(connection, scene, payload.get("after", 0), scene.kind.batch)
        if after is not None:
            work.add_job({"do": "sort", "after": after})
        work.on_record(lambda c: _foreseen(c, scene, entries))
        return {}
    with work.engine.connect() as connection:
        upto = payload.get("upto") or outbox.newest_id(connection, scene.pair)
        after = payload.get("after", 0)
        if after == 0 and scene.kind.may_delete("remote") and not work.args["allow_deletes"]:
            deletes, known = _count_remote_deletes(connection, scene, upto)
            check_deletes(scene.kind, deletes, known, where="records at the API")
        ids = outbox.ids(connection, scene.pair, after, upto, SORT_JOBS * scene.kind.batch)
    for start in range(0, len(ids), scene.kind.batch):
        part = ids[start : start + scene.kind.batch]
        work.add_job({"do": "push", "after": part[0][0] - 1, "upto": part[-1][0]})
    if len(ids) == SORT_JOBS * scene.kind.batch:
        work.add_job({"do": "sort", "after": ids[-1][0], "upto": upto})
    return {"to_push": len(ids)}


def _count_remote_deletes(connection: Connection, scene: Scene, upto: int) -> tuple[int, int]:
    after, deletes = 0, 0
    while ids := outbox.ids(connection, scene.pair, after, upto, 1000):
        after = ids[-1][0]
        local_ids = [entity[2:] for _, entity in ids if entity.startswith("l:")]
        rows = scene.table.read(connection, local_ids)
        known = links.by_local(connection, scene.pair, (i for i in local_ids if i not in rows), lock=False)
        deletes += sum(1 for link in known.values() if link.remote_id is not None and link.gone_at is None)
    return deletes, links.count(connection, scene.pair)["links"]


def _push(work: Work, scene: Scene) -> Mapping[str, Json]:
    """One batch; what is left of it after an answer that says "later" waits in the outbox, and the job comes back for it."""
    payload = work.payload
    with work.engine.connect() as connection:
        entries = outbox.between(connection, scene.pair, payload["after"], payload["upto"])
    if not entries:
        return {}
    with entities_held(clients.redis(), scene.pair, entries, clients.who()) as (mine, others):
        # Read again now that they are held: somebody may have written them between the look and the lock.
        with work.engine.connect() as connection:
            fresh = {e.id: e for e in outbox.between(connection, scene.pair, payload["after"], payload["upto"])}
        pushed = push(scene, [fresh[e.id] for e in mine if e.id in fresh], work.checkpoint, deletes=True)
    return _after_push(work, pushed, held_elsewhere=len(others))


def _after_push(work: Work, pushed: Pushed, *, held_elsewhere: int) -> Mapping[str, Json]:
    """A batch that came some way is done, and another job takes what is left; one that came nowhere is tried again itself."""
    left = pushed.left + held_elsewhere
    if pushed.stopped is None and not left:
        return dict(pushed.counts)
    if pushed.stopped is not None:
        later = answer_to(pushed.stopped)
    elif pushed.left:
        later = Retry(f"{pushed.left} entities do not agree yet")
    else:
        later = Snooze(f"{held_elsewhere} entities are being written by somebody else", delay_s=HELD_WAIT_S)
    if not isinstance(later, Snooze | Retry) or not any(pushed.counts.values()):
        raise later
    work.add_job(work.payload, due_in_s=(later.delay_s or 0.0) if isinstance(later, Snooze) else LEFT_WAIT_S)
    return dict(pushed.counts)


_STEPS: dict[str, Callable[[Work, Scene], Mapping[str, Json]]] = {
    "settle": _settle,
    "pull": _pull,
    "missing": _missing,
    "scan": _scan,
    "deletes": _deletes,
    "sort": _sort,
    "push": _push,
}


def _next_step(work: Work, after: str | None) -> None:
    steps = STEPS[work.args["direction"]]
    following = steps[steps.index(after) + 1 :] if after else steps
    if following:
        work.add_job({"do": following[0]})


def finish_sync(work: Work) -> Mapping[str, Json]:
    """The run's totals."""
    totals: Counter[str] = Counter()
    if not work.args["dry_run"]:
        pair = Pair(work.args["connection"], work.args["kind"])
        work.on_record(lambda c: ledger.forget_old(c, pair))
    for result in work.job_results():
        totals.update({name: value for name, value in result.items() if isinstance(value, int)})
    return {name: value for name, value in sorted(totals.items()) if value}


# -- what the steps stand on ----------------------------------------------------------------------------------------------

_tables: dict[tuple[str, str, str], LocalTable] = {}


def scene_for(work: Work, connection: str, name: str) -> Scene:
    """Connection, kind, table and connector of a run; the table is read from the schema once per run and process."""
    kind = declared(connection, name)
    key = (work.run_id, connection, name)
    if key not in _tables:
        _tables.clear()
        _tables[key] = local_table(work.engine, kind)
    connector = connector_of(connection_named(connection), kind)
    return Scene(Pair(connection, name), kind, _tables[key], connector, work.run_id)


@contextmanager
def failing_the_run() -> Iterator[None]:
    """What is wrong with the declaration or the table is wrong for every job of the run; so is a run that would delete too much."""
    try:
        yield
    except (SyncError, TooManyDeletes) as error:
        raise FailRun(str(error)) from error


@contextmanager
def calling(work: Work, scene: Scene) -> Iterator[SharedGate]:
    """Requests pass the connection's shared gate, and what the API says becomes a job's answer."""
    client = clients.redis()
    connection = connection_named(scene.pair.connection)
    gate = SharedGate(client, RateLimiter(client), connection, work.stop_if_asked, owner=clients.who())
    try:
        with gated(gate):
            yield gate
    except RemoteError as error:
        raise answer_to(error) from error


def _later(error: RemoteError, wait_s: float) -> Snooze:
    # The gate is shared and knows how long in full: whoever looks again in between asks Redis, not the API.
    return Snooze(str(error), delay_s=min(wait_s, LOOK_AGAIN_S))


def answer_to(error: RemoteError) -> Exception:
    """What an error of the API means for the job."""
    if isinstance(error, NotNow):
        return _later(error, error.wait_s)
    if isinstance(error, RateLimited):
        return _later(error, DEFAULT_WAIT_S if error.retry_after_s is None else error.retry_after_s)
    if isinstance(error, Unavailable) and error.retry_after_s is not None:
        return _later(error, error.retry_after_s)
    if isinstance(error, Unusable):
        return PauseRun(str(error))
    if isinstance(error, Rejected | NotFound):
        return Permanent(str(error), code=f"http_{error.status}")
    return Retry(str(error))


def _describe_start(args: Args) -> str:
    words = [name for name in ("full", "dry_run", "allow_deletes") if args[name]]
    return f"{args['connection']}/{args['kind']} {args['direction']}{' ' + ' '.join(words) if words else ''}"


def _describe_job(args: Args, payload: Json) -> str:
    rest = ", ".join(f"{name} {value}" for name, value in payload.items() if name in ("after", "upto", "of"))
    return f"{args['connection']}/{args['kind']}: {payload['do']}{' ' + rest if rest else ''}"


SYNC = JobKind(
    name="sync",
    queue="sync",
    arguments=sync_arguments,
    admission_key=lambda args: f"{args['connection']}/{args['kind']}",
    plan=plan_sync_run,
    perform=perform_sync,
    finish=finish_sync,
    describe_start=_describe_start,
    describe_job=_describe_job,
    backoff=Backoff(max_attempts=8, base_s=1, cap_s=300),
)
