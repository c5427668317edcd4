"""Why isn't it running?  Every reason that can be seen from MySQL, the locks and the broker, in one answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kombu.exceptions import OperationalError
from sqlalchemy import Connection

from locks import LockUnavailable, TokenLock
from locks.limit_list import list_limits
from runstate import alerts, nodes, runs
from runstate.alerts import Alert
from runstate.nodes import Node
from runstate.runs import Run
from runstate.stale import stale_since
from runstate.standing import Standing, due_ahead, standing
from runstate.statuses import JobState, RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.publish import job_label, queue_length
from tasks.registry import kind_named, kinds_by_queue
from tasks.settings import settings

ALIVE_S = 10.0
"""A node that has not beaten for this long is taken for gone."""

EVERYBODYS = ("mysql", "schema", "redis", "broker", "dispatchers", "disk")
"""Causes of alerts that concern every run that is under way, as `ops health` names them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen: ``code`` for machines, ``text`` for people; ``blocks`` if the run cannot move because of it."""

    code: str
    text: str
    blocks: bool = False


WAITS = frozenset({"limit_paused", "limit_used_up", "next_due"})
"""Findings that a run gets over without anybody's help."""


def conclusion(findings: Sequence[Finding]) -> str | None:
    """What follows from findings of which none blocks; None where one does."""
    if any(finding.blocks for finding in findings):
        return None
    if WAITS & {finding.code for finding in findings}:
        return "nothing blocks it; it waits, and goes on by itself"
    return "nothing blocks it"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The findings about a run, those that block it first."""

    run: Run
    findings: tuple[Finding, ...]


def explain(run_id: str) -> Explanation:
    """Say why a run stands where it stands.  Raises `runstate.errors.NotFound`, `DatabaseUnavailable`."""

    def look(connection: Connection) -> tuple[Run, Standing, list[Node], int, list[Finding], list[Alert]]:
        run = runs.get(connection, run_id)
        kind = kind_named(run.kind)
        neighbours = [other.name for other in kinds_by_queue()[kind.queue]]
        since = stale_since(connection, run, kind.stale_after_s, neighbours)
        stale = []
        if since is not None:
            text = f"stale: neither it nor its queue has moved since {since} UTC; recover it with --resume or --fail"
            stale.append(Finding("stale", text, blocks=True))
        ahead = due_ahead(connection, run_id, neighbours)
        firing = alerts.firing(connection)
        return run, standing(connection, run_id), nodes.all_nodes(connection), ahead, stale, firing

    run, jobs, alive, ahead, stale, firing = in_transaction(clients.engine(), look)
    found = [
        *stale,
        *_by_status(run),
        *_processes(run, alive),
        *_lock(run),
        *_queue(run, ahead),
        *_limits(run),
        *_jobs(run, jobs),
        *_alerts(run, firing),
    ]
    return Explanation(run, tuple(sorted(found, key=lambda finding: not finding.blocks)))


def _by_status(run: Run) -> Iterator[Finding]:
    if run.ended:
        yield Finding(
            "ended",
            f"it is {run.status.value} since {run.finished_at} UTC: {run.reason or 'nothing to add'}",
            blocks=True,
        )
    elif run.status is RunStatus.PAUSED:
        yield Finding("paused", f"paused: {run.reason or 'no reason given'}; resume it to go on", blocks=True)
    elif run.status is RunStatus.CANCELLING:
        yield Finding("cancelling", "it is being cancelled: jobs in workers' hands are being stopped", blocks=True)
    elif run.status is RunStatus.REQUESTED and run.not_before and run.not_before > run.seen_at:
        yield Finding("not_before", f"it is not to start before {run.not_before} UTC", blocks=True)
    elif run.status is RunStatus.REQUESTED:
        age_s = (run.seen_at - run.requested_at).total_seconds()
        yield Finding("requested", f"it waits for admission for {age_s:.0f} s")


def _processes(run: Run, all_nodes: list[Node]) -> Iterator[Finding]:
    if run.ended:
        return
    alive = [node for node in all_nodes if node.age_s <= ALIVE_S]
    queue = settings().control_queue if run.status is RunStatus.REQUESTED else kind_named(run.kind).queue
    workers = [node.name for node in alive if queue in node.queues]
    if workers:
        yield Finding("workers", f"workers on queue {queue}: {', '.join(workers)}")
    else:
        yield Finding(
            "no_worker",
            f"no worker consumes queue {queue}: start its pool with `make up`, or have another worker take its work meanwhile: "
            f"`celery -A tasks control add_consumer {queue} --destination WORKER`",
            blocks=True,
        )
    if not any(node.role == "dispatcher" for node in alive):
        yield Finding(
            "no_dispatcher", "no dispatcher is alive: retries, lost messages and lost claims wait for one", blocks=True
        )


def _lock(run: Run) -> Iterator[Finding]:
    if run.status is not RunStatus.REQUESTED or run.admission_key is None:
        return
    try:
        lock = TokenLock(clients.redis(), ["admission", run.kind, run.admission_key], 1, clients.who())
        holder = lock.holder()
    except LockUnavailable as error:
        yield Finding("redis_away", f"Redis is away ({error}); admission goes on in MySQL alone")
        return
    if holder is not None:
        left = "no expiry" if holder.ttl_s is None else f"{holder.ttl_s:.1f} s left"
        yield Finding("lock_held", f"the admission lock is held by {holder.owner}, {left}; it delays, it never refuses")


def _queue(run: Run, ahead: int) -> Iterator[Finding]:
    if not run.active:
        return
    queue = kind_named(run.kind).queue
    try:
        waiting = queue_length(queue)
    except (OperationalError, OSError) as error:
        yield Finding("broker_away", f"the broker is away ({error}); jobs go out when it is back", blocks=True)
        return
    yield Finding("queue", f"{waiting} messages wait in queue {queue}; {ahead} due jobs of other runs share it")


def _limits(run: Run) -> Iterator[Finding]:
    """Limits of the run's queue (their keys begin with its name) that let nothing, or less, through."""
    if not run.active:
        return
    try:
        limited = list_limits(clients.redis(), prefix=kind_named(run.kind).queue + ":")
    except LockUnavailable as error:
        yield Finding("limits_away", f"Redis is away ({error.cause}); what is rate-limited waits until it is back")
        return
    for key in limited:
        if key.pause is not None:
            yield Finding(
                "limit_paused", f"{key.key} lets nothing through for {key.pause.for_s:.0f} s: {key.pause.reason}"
            )
        elif key.rate < 1:
            yield Finding(
                "limit_slowed", f"{key.key} is slowed down to {key.rate:.0%} of its rate; it recovers by itself"
            )
        for use in key.limits:
            if use.left == 0 and use.limit.period_s > 60:
                yield Finding("limit_used_up", f"{key.key}: {use.limit} is used up")


def _alerts(run: Run, firing: list[Alert]) -> Iterator[Finding]:
    for alert in firing:
        if concerns(alert, run):
            state = "fires" if alert.status == "firing" else "has fired, and is recovering,"
            yield Finding("alert", f"alert {alert.cause!r} {state} since {alert.fired_at} UTC: {alert.found}")


def concerns(alert: Alert, run: Run) -> bool:
    """Whether an alert has to do with a run: it names the run; or what every run needs, its queue or its kind, is in trouble."""
    if run.run_id in alert.found:
        return True
    if run.ended:
        return False
    kind = kind_named(run.kind)
    return alert.cause in {
        *EVERYBODYS,
        f"workers on {kind.queue}",
        f"work on {kind.queue}",
        f"backlog of {kind.name}",
        f"failures of {kind.name}",
        *(("starts", f"workers on {settings().control_queue}") if run.status is RunStatus.REQUESTED else ()),
    }


def _jobs(run: Run, jobs: Standing) -> Iterator[Finding]:
    if jobs.by_state:
        counts = ", ".join(f"{jobs.by_state[state]} {state.value}" for state in JobState if state in jobs.by_state)
        yield Finding("jobs", f"jobs: {counts}")
    for held in jobs.in_hand:
        yield Finding(
            "in_hand",
            f"{job_label(held.job_no)} is in the hands of {held.worker} for {held.held_s:.0f} s, lease for another "
            f"{held.lease_left_s:.0f} s",
        )
    if jobs.next_due_at is not None and not jobs.due_now and not run.ended:
        wait_s = (jobs.next_due_at - run.seen_at).total_seconds()
        yield Finding("next_due", f"the next job is due in {wait_s:.0f} s, at {jobs.next_due_at} UTC")
    if jobs.last_error is not None:
        yield Finding("last_error", f"last error, of {job_label(jobs.last_error_job or 0)}: {jobs.last_error[:500]}")
