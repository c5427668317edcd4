"""``ops sync``: how a sync stands, what waits for a person and how it is resolved, what a plan would write."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import OpsError, UsageError
from ops.output import Output, duration
from ops.parsers import Commands, positive
from runstate import runs
from runstate.audit import Actor
from runstate.errors import NotFound
from runstate.queries import resolve_run_id
from runstate.transaction import in_transaction
from tasks import clients
from tasks.sync import conflicts, cursors, links, outbox, plan_entries, rejects
from tasks.sync.connections import connections
from tasks.sync.errors import NoConflict, SyncError
from tasks.sync.kind import SYNC
from tasks.sync.links import Pair
from tasks.sync.resolve import Choice
from tasks.sync.steer import resolve_conflict, retry_rejects
from tasks.sync.values import load


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``sync status``, ``conflicts list|resolve``, ``rejects list|retry`` and ``plan show``."""
    group = commands.add_parser("sync", help="API syncs: standing, conflicts, rejects, plans").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser("status", parents=[common], help="links, outbox, conflicts and rejects of each kind")
    parser.add_argument("connection", metavar="CONNECTION", nargs="?")
    parser.set_defaults(run=status)
    _add_conflicts(group, common)
    _add_rejects(group, common)
    plans = group.add_parser("plan", help="what a dry run would write").add_subparsers(required=True, metavar="ACTION")
    parser = plans.add_parser("show", parents=[common], help="each entry, both sides, field by field")
    parser.add_argument("plan_id", metavar="PLAN", help="the id of the run with dry_run=True")
    parser.add_argument("--limit", type=positive, default=1000, help="at most so many (default %(default)s)")
    parser.set_defaults(run=show_plan)


def _add_conflicts(group: Commands, common: argparse.ArgumentParser) -> None:
    actions = group.add_parser("conflicts", help="fields that wait for a person").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = actions.add_parser("list", parents=[common], help="open ones, with both values")
    parser.add_argument("connection", metavar="CONNECTION", nargs="?")
    parser.add_argument("--limit", type=positive, default=100, help="at most so many (default %(default)s)")
    parser.set_defaults(run=list_conflicts)
    parser = actions.add_parser("resolve", parents=[common], help="keep one side's value, or another one")
    parser.add_argument("conflict_id", metavar="ID", type=positive)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--keep", choices=["local", "remote"], help="which side's value")
    which.add_argument("--value", metavar="JSON", help="another value, as JSON")
    add_actor(parser)
    parser.set_defaults(run=resolve)


def _add_rejects(group: Commands, common: argparse.ArgumentParser) -> None:
    actions = group.add_parser("rejects", help="rows and records that cannot be kept the same").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = actions.add_parser("list", parents=[common], help="newest first, each with its reason")
    parser.add_argument("connection", metavar="CONNECTION", nargs="?")
    parser.add_argument("--limit", type=positive, default=100, help="at most so many (default %(default)s)")
    parser.set_defaults(run=list_rejects)
    parser = actions.add_parser("retry", parents=[common], help="have them tried again by the next run")
    parser.add_argument("connection", metavar="CONNECTION")
    parser.add_argument("kind", metavar="KIND")
    add_actor(parser)
    parser.set_defaults(run=retry)


def _pairs(name: str | None) -> list[Pair]:
    try:
        if name is not None and name not in connections():
            raise NotFound(_unknown(name))
        some = [connections()[name]] if name is not None else list(connections().values())
    except SyncError as error:
        raise UsageError(str(error)) from error
    return [Pair(connection.name, kind.name) for connection in some for kind in connection.kinds]


def _unknown(name: str) -> str:
    known = ", ".join(sorted(connections())) or "none"
    return f"there is no connection {name!r} here; known: {known}. Connections are named in HOLDFAST_SYNC"


def status(options: argparse.Namespace, output: Output) -> int:
    """One line a kind of record."""
    found: list[dict[str, Any]] = []
    for pair in _pairs(options.connection):
        with clients.engine().connect() as connection:
            kept, waiting = cursors.read(connection, pair), outbox.counts(connection, pair)
            found.append(
                {
                    **pair._asdict(),
                    **links.count(connection, pair),
                    "pending": waiting.get(outbox.PENDING, 0),
                    "oldest_pending_s": outbox.oldest_age_s(connection, pair),
                    "conflicts": conflicts.count(connection, pair),
                    "rejects": rejects.count(connection, pair),
                    "full_age_s": kept.full_age_s,
                }
            )
    if output.as_json:
        output.document(found)
        return exits.OK
    if not found:
        output.say("no connection is declared here; see HOLDFAST_SYNC")
    for one in found:
        oldest = "" if one["oldest_pending_s"] is None else f" (oldest {duration(one['oldest_pending_s'])})"
        full = "never" if one["full_age_s"] is None else f"{duration(one['full_age_s'])} ago"
        output.say(
            f"{one['connection']}/{one['kind']}: {one['links']} links, {one['pending']} pending{oldest}, "
            f"{one['conflicts']} conflicts, {one['rejects']} rejects, listed in full {full}"
        )
    return exits.OK


def list_conflicts(options: argparse.Namespace, output: Output) -> int:
    """Open conflicts, oldest first."""
    found = []
    with clients.engine().connect() as connection:
        for pair in _pairs(options.connection):
            for row in conflicts.find(connection, pair, limit=options.limit):
                link = links.by_id(connection, row.link_id, lock=False)
                found.append(
                    {
                        "id": row.id,
                        **pair._asdict(),
                        "local_id": link[1].local_id if link else None,
                        "remote_id": link[1].remote_id if link else None,
                        "field": row.field,
                        "base": load(row.base),
                        "local": load(row.local),
                        "remote": load(row.remote),
                        "since": row.created_at.isoformat(),
                    }
                )
    found = sorted(found, key=lambda one: int(one["id"]))[: options.limit]
    if output.as_json:
        output.document(found)
        return exits.OK
    if not found:
        output.say("no field waits for a person")
    for one in found:
        output.say(
            f"{one['id']}  {one['connection']}/{one['kind']} row {one['local_id']}, record {one['remote_id']}: "
            f"{one['field']} was {one['base']!r}, local {one['local']!r}, remote {one['remote']!r}"
        )
    return exits.OK


def resolve(options: argparse.Namespace, output: Output) -> int:
    """Settle one conflict."""
    choice: Choice = options.keep or "value"
    value = None
    if choice == "value":
        try:
            value = json.loads(options.value)
        except ValueError as error:
            raise UsageError(f"--value {options.value}: not JSON ({error}); quote texts twice, '\"so\"'") from error
    actor = Actor(options.actor, options.reason or "dry run") if options.dry_run else actor_of(options)
    try:
        kept = resolve_conflict(
            options.conflict_id, choice, value=value, actor=actor.name, reason=actor.reason, dry_run=options.dry_run
        )
    except NoConflict as error:
        raise NotFound(str(error)) from error
    except SyncError as error:
        raise OpsError(str(error)) from error
    if output.as_json:
        output.document({"dry_run": "would resolve", **kept} if options.dry_run else kept)
    elif options.dry_run:
        output.say(f"would resolve it: {kept['field']} would be {kept['kept']!r} instead of {kept['before']!r}")
    else:
        output.say(f"{kept['field']} is {kept['kept']!r}; the next run of {kept['connection']}/{kept['kind']} goes on")
    return exits.OK


def list_rejects(options: argparse.Namespace, output: Output) -> int:
    """Rejects, newest first."""
    found = []
    with clients.engine().connect() as connection:
        for pair in _pairs(options.connection):
            found += [
                {
                    **pair._asdict(),
                    "entity": row.entity,
                    "direction": row.direction,
                    "code": row.code,
                    "reason": row.reason,
                    "record": load(row.record),
                    "run_id": row.run_id,
                    "at": row.created_at.isoformat(),
                }
                for row in rejects.find(connection, pair, limit=options.limit)
            ]
    found = sorted(found, key=lambda one: str(one["at"]), reverse=True)[: options.limit]
    if output.as_json:
        output.document(found)
        return exits.OK
    if not found:
        output.say("nothing is rejected")
    for one in found:
        output.say(
            f"{one['connection']}/{one['kind']} {one['entity']} {one['direction']} {one['code']}: {one['reason']}"
        )
    return exits.OK


def retry(options: argparse.Namespace, output: Output) -> int:
    """Have rejects tried again."""
    pair = Pair(options.connection, options.kind)
    if pair not in (known := _pairs(options.connection)):
        names = ", ".join(one.kind for one in known)
        raise NotFound(f"connection {pair.connection!r} has no kind {pair.kind!r}; it has: {names}")
    if options.dry_run:
        count = in_transaction(clients.engine(), lambda c: rejects.count(c, pair))
        if output.as_json:
            output.document({"dry_run": "would retry", "rejects": count})
        else:
            output.say(f"would have {count} tried again by the next run")
        return exits.OK
    actor = actor_of(options)
    count = retry_rejects(options.connection, options.kind, actor=actor.name, reason=actor.reason)
    if output.as_json:
        output.document({"retried": count})
    else:
        output.say(f"{count} will be tried again by the next run")
    return exits.OK


def show_plan(options: argparse.Namespace, output: Output) -> int:
    """Entries of a plan, in the order in which they were made."""
    with clients.engine().connect() as connection:
        run = runs.get(connection, resolve_run_id(connection, options.plan_id))
        if run.kind != SYNC.name or not run.args.get("dry_run"):
            raise NotFound(f"run {run.run_id} made no plan: a plan is a run of kind sync with dry_run=True")
        entries = plan_entries.read(connection, run.run_id, limit=options.limit)
        counts = plan_entries.counts(connection, run.run_id)
    if output.as_json:
        output.document(
            {
                "plan_id": run.run_id,
                "run_status": run.status,
                "counts": counts,
                "entries": [_entry_document(entry) for entry in entries],
            }
        )
        return exits.OK
    if run.finished_at is None:
        output.say(f"run {run.run_id} is still {run.status}: more may come")
    elif not entries:
        output.say(f"plan {run.run_id} has no entries: both sides are the same")
    for entry in entries:
        _say_entry(entry, output)
    if (more := sum(counts.values()) - len(entries)) > 0:
        output.say(f"… and {more} more: --limit shows them")
    return exits.OK


def _entry_document(entry: plan_entries.Entry) -> dict[str, Any]:
    return {
        "entity": entry.entity,
        "local_id": entry.local_id,
        "remote_id": entry.remote_id,
        "local": entry.local_change,
        "remote": entry.remote_change,
        "conflicts": entry.conflicts,
        "status": entry.status,
        "reason": entry.reason,
    }


def _say_entry(entry: plan_entries.Entry, output: Output) -> None:
    told = f": {entry.reason}" if entry.reason else ""
    output.say(f"row {entry.local_id or '-'}, record {entry.remote_id or '-'} ({entry.status}{told})")
    for side, change in (("table", entry.local_change), ("API", entry.remote_change)):
        for name, (before, after) in (change or {}).get("fields", {}).items():
            output.say(f"  {side} {(change or {})['action']}: {name} {before!r} → {after!r}")
    for clash in entry.conflicts or ():
        output.say(f"  conflict: {clash['field']} local {clash['local']!r}, remote {clash['remote']!r}")
