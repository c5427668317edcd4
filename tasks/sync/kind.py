"""The API sync as a kind of job: a chain of short jobs, each of which asks for the next.

Settle what a crash left open, pull page after page, look for what is missing, scan, delete behind the guard, and then push
batches side by side: `tasks.sync.steps`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tasks.kinds import Args, Backoff, JobKind, Json, Work
from tasks.sync import ledger
from tasks.sync.arguments import sync_arguments
from tasks.sync.effects import Scene
from tasks.sync.links import Pair
from tasks.sync.old_rows import OLD_ROWS
from tasks.sync.report import sync_report
from tasks.sync.scenes import calling, failing_the_run, scene_for
from tasks.sync.steps.deletes import deletes
from tasks.sync.steps.missing import missing
from tasks.sync.steps.pull import pull
from tasks.sync.steps.push import push
from tasks.sync.steps.scan import scan
from tasks.sync.steps.settle import settle
from tasks.sync.steps.sort import sort

STEPS: dict[str, Callable[[Work, Scene], Mapping[str, Json]]] = {
    "settle": settle,
    "pull": pull,
    "missing": missing,
    "scan": scan,
    "deletes": deletes,
    "sort": sort,
    "push": push,
}


def plan_sync_run(_args: Args) -> Iterator[Json]:
    """The first step; each step asks for the next one."""
    yield {"do": "settle"}


def perform_sync(work: Work) -> Mapping[str, Json]:
    """Do one step."""
    with failing_the_run():
        scene = scene_for(work, work.args["connection"], work.args["kind"])
    with failing_the_run(), calling(work, scene):
        return STEPS[work.payload["do"]](work, scene)


def finish_sync(work: Work) -> Mapping[str, Json]:
    """The run's totals."""
    totals: Counter[str] = Counter()
    if not work.args["dry_run"]:
        pair = Pair(work.args["connection"], work.args["kind"])
        work.on_record(lambda c: ledger.forget_old(c, pair))
    for result in work.job_results():
        totals.update({name: value for name, value in result.items() if isinstance(value, int)})
    return {name: value for name, value in sorted(totals.items()) if value}


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
    report=sync_report,
    describe_start=_describe_start,
    describe_job=_describe_job,
    old_rows=OLD_ROWS,
    backoff=Backoff(max_attempts=8, base_s=1, cap_s=300),
    # Page after page in the process that has asked for the next one already.
    slice_s=5.0,
)
