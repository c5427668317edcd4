"""``ops runs``: which runs there are, and how one stands."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from ops import exits, steer, watch
from ops.output import Output, duration, moment
from ops.parsers import Commands, ago, positive
from runstate import documents, letters, pages, queries
from runstate.alerts import database_now
from runstate.letters import Filter
from runstate.pages import RunRow
from runstate.run_order import RunFilter
from runstate.runs import Run, get
from runstate.stale import stale_since
from runstate.statuses import ACTIVE, RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.describe import about_run
from tasks.registry import kinds, kinds_by_queue

_GROUPS = {
    "active": [status.value for status in ACTIVE],
    "open": [RunStatus.REQUESTED.value, *(status.value for status in ACTIVE)],
}
STYLES = {
    RunStatus.COMPLETED: "green",
    RunStatus.FAILED: "red",
    RunStatus.REFUSED: "yellow",
    RunStatus.PAUSED: "yellow",
    RunStatus.CANCELLED: "dim",
}


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``runs list``, ``runs show``, ``runs watch`` and what steers a run."""
    group = commands.add_parser("runs", help="list runs, look at one, follow one, steer one").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser("list", parents=[common], help="runs that match, the newest first")
    parser.add_argument(
        "--status",
        action="append",
        default=[],
        choices=[*_GROUPS, *(status.value for status in RunStatus)],
        help="only runs that stand there; may be given several times (active: they hold their key; open: and requested)",
    )
    parser.add_argument("--kind", help="only runs of this kind")
    parser.add_argument("--key", help="only runs with this admission key")
    parser.add_argument("--text", default="", help="only runs with this in id, key, reason or requester")
    parser.add_argument("--since", type=ago, metavar="AGO", help="only runs requested within, as 90s, 15m, 24h or 7d")
    parser.add_argument("--order", default="newest", choices=["newest", "oldest", "finished"], help="(%(default)s)")
    parser.add_argument("--limit", type=positive, default=20, help="at most so many (default %(default)s)")
    parser.set_defaults(run=list_runs)
    parser = group.add_parser("show", parents=[common], help="how one run stands")
    parser.add_argument("run_id", metavar="RUN", help="a run id, or an unambiguous beginning of one")
    parser.set_defaults(run=show_run)
    watch.add(group, common)
    steer.add(group, common)


def list_runs(options: argparse.Namespace, output: Output) -> int:
    """Print the runs that match."""
    statuses = {status for given in options.status for status in _GROUPS.get(given, (given,))}
    which = RunFilter(
        statuses=sorted(statuses),
        kind=options.kind,
        # The index is on the hash of kind and key.
        key_hashes=[documents.admission_hash(kind, options.key) for kind in _kinds(options.kind)]
        if options.key is not None
        else [],
        words=options.text,
    )

    def look(connection: Connection) -> list[RunRow]:
        since = None if options.since is None else database_now(connection) - options.since
        return pages.runs_page(connection, replace(which, since=since), order=options.order, most=options.limit)

    found = in_transaction(clients.engine(), look)
    if output.as_json:
        output.document(found)
        return exits.OK
    columns = ("RUN", "KIND", "KEY", "STATUS", "JOBS>", "DEAD>", "REQUESTED", "HEARTBEAT>", "REASON")
    output.table(columns, [_line(run) for run in found], [STYLES.get(run.status, "") for run in found])
    return exits.OK


def _kinds(given: str | None) -> list[str]:
    return [given] if given else sorted(kinds())


def _line(run: RunRow) -> tuple[Any, ...]:
    ended = run.jobs_done + run.jobs_dead + run.jobs_cancelled
    return (
        run.run_id,
        run.kind,
        run.admission_key,
        run.status.value,
        f"{ended}/{run.jobs_total}",
        run.jobs_dead or None,
        moment(run.requested_at),
        duration(run.heartbeat_age_s) if run.finished_at is None else None,
        (run.reason or "")[:100],
    )


def show_run(options: argparse.Namespace, output: Output) -> int:
    """Print everything about one run."""
    facts = in_transaction(clients.engine(), lambda c: _facts(c, options.run_id))
    if output.as_json:
        output.document(facts)
        return exits.OK
    run: Run = facts["run"]
    for name, value in _about(run, facts):
        if value not in (None, ""):
            output.say(f"{name:<12} {value}", STYLES.get(run.status, "") if name == "status" else "")
    if facts["attempts"]:
        output.say()
        output.table(
            ("OUTCOME", "ATTEMPTS>", "MEAN>", "LONGEST>", "PEAK MEMORY>"),
            [
                (
                    attempts.outcome,
                    attempts.count,
                    duration((attempts.mean_ms or 0) / 1000),
                    duration((attempts.longest_ms or 0) / 1000),
                    f"{(attempts.peak_memory_kb or 0) / 1024:.0f} MiB",
                )
                for attempts in facts["attempts"]
            ],
        )
    for job in facts["troubled_jobs"]:
        output.say(
            f"job {job.job_no} is {job.state} after {job.attempts} attempts and {job.crashes} crashes: {job.last_error}"
        )
    for group in facts["dead_letters"]:
        output.say(f"{group.count} dead letters: {group.error_class}, for example: {group.example}", "red")
    return exits.OK


def _facts(connection: Connection, given: str) -> dict[str, Any]:
    run = get(connection, queries.resolve_run_id(connection, given))
    kind = kinds().get(run.kind)
    since = None
    if kind is not None:
        neighbours = [other.name for other in kinds_by_queue()[kind.queue]]
        since = stale_since(connection, run, kind.stale_after_s, neighbours)
    return {
        "run": run,
        "about": about_run(kind, run.run_id, run.args) or None,
        "queue": kind.queue if kind is not None else None,
        "stale_since": since,
        "jobs": queries.job_counts(connection, run.run_id),
        "rows": queries.rows_recorded(connection, run.run_id),
        "attempts": queries.attempts_of(connection, run.run_id),
        "troubled_jobs": queries.troubled_jobs(connection, run.run_id),
        "dead_letters": letters.groups(connection, Filter(run_id=run.run_id)),
    }


def _about(run: Run, facts: dict[str, Any]) -> list[tuple[str, Any]]:
    work = facts["jobs"].get("work", {})
    states = ", ".join(f"{count} {state}" for state, count in sorted(work.items()))
    beat_s = (run.seen_at - run.heartbeat_at).total_seconds() if run.heartbeat_at and not run.ended else None
    took_s = ((run.finished_at or run.seen_at) - run.started_at).total_seconds() if run.started_at else None
    return [
        ("run", run.run_id),
        ("what", facts["about"]),
        ("kind", f"{run.kind} on queue {facts['queue']}" if facts["queue"] else f"{run.kind}, not known here"),
        ("key", run.admission_key),
        ("status", run.status.value),
        ("stale since", moment(facts["stale_since"])),
        ("reason", run.reason),
        ("refused by", run.refused_by),
        ("requested", f"{moment(run.requested_at)} UTC by {run.requested_by}"),
        ("not before", moment(run.not_before)),
        ("started", moment(run.started_at)),
        ("finished", moment(run.finished_at)),
        ("took", duration(took_s)),
        ("heartbeat", f"{duration(beat_s)} ago" if beat_s is not None else None),
        ("fence", run.fence),
        ("jobs", f"{run.jobs_total}: {states}" if states else None),
        ("rows", f"{facts['rows']:,}" if facts["rows"] is not None else None),
        ("replay of", run.parent_run_id),
        ("arguments", json.dumps(dict(run.args), ensure_ascii=False)),
        ("result", json.dumps(dict(run.result), ensure_ascii=False) if run.result else None),
    ]
