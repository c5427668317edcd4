"""``ops sync``: how a sync stands, what waits for a person and how it is resolved, what a plan would write."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import UsageError
from ops.output import Output, duration
from ops.parsers import Commands, positive
from runstate.transaction import in_transaction
from tasks import clients
from tasks.sync import conflicts, cursors, links, outbox, plan_entries, rejects
from tasks.sync.connections import connection_named, connections
from tasks.sync.errors import SyncError
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
        some = [connection_named(name)] if name else list(connections().values())
    except SyncError as error:
        raise UsageError(str(error)) from error
    return [Pair(connection.name, kind.name) for connection in some for kind in connection.kinds]


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
                    "conflicts": len(conflicts.find(connection, pair, limit=10_000)),
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
    if output.as_json:
        output.document(found)
        return exits.OK
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
    if options.dry_run:
        with clients.engine().connect() as connection:
            asked = conflicts.get(connection, options.conflict_id)
        if asked is None or asked.open != 1:
            raise UsageError(f"conflict {options.conflict_id} is not open")
        kept = {"local": load(asked.local), "remote": load(asked.remote), "value": value}[choice]
        output.document({"dry_run": "would resolve", "id": asked.id, "field": asked.field, "kept": kept})
        return exits.OK
    actor = actor_of(options)
    try:
        kept = resolve_conflict(options.conflict_id, choice, value=value, actor=actor.name, reason=actor.reason)
    except SyncError as error:
        raise UsageError(str(error)) from error
    if output.as_json:
        output.document(kept)
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
    if output.as_json:
        output.document(found)
        return exits.OK
    for one in found:
        output.say(
            f"{one['connection']}/{one['kind']} {one['entity']} {one['direction']} {one['code']}: {one['reason']}"
        )
    return exits.OK


def retry(options: argparse.Namespace, output: Output) -> int:
    """Have rejects tried again."""
    pair = Pair(options.connection, options.kind)
    if options.dry_run:
        count = in_transaction(clients.engine(), lambda c: rejects.count(c, pair))
        output.document({"dry_run": "would retry", "rejects": count})
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
        entries = plan_entries.read(connection, options.plan_id, limit=options.limit)
        counts = plan_entries.counts(connection, options.plan_id)
    if output.as_json:
        output.document(
            {
                "plan_id": options.plan_id,
                "counts": counts,
                "entries": [
                    {
                        "entity": e.entity,
                        "local_id": e.local_id,
                        "remote_id": e.remote_id,
                        "local": e.local_change,
                        "remote": e.remote_change,
                        "conflicts": e.conflicts,
                        "status": e.status,
                        "reason": e.reason,
                    }
                    for e in entries
                ],
            }
        )
        return exits.OK
    if not entries:
        output.say(f"plan {options.plan_id} has no entries: both sides are the same, or no dry run has this id")
    for entry in entries:
        told = f": {entry.reason}" if entry.reason else ""
        output.say(f"row {entry.local_id or '-'}, record {entry.remote_id or '-'} ({entry.status}{told})")
        for side, change in (("table", entry.local_change), ("API", entry.remote_change)):
            for name, (before, after) in (change or {}).get("fields", {}).items():
                output.say(f"  {side} {(change or {})['action']}: {name} {before!r} → {after!r}")
        for clash in entry.conflicts or ():
            output.say(f"  conflict: {clash['field']} local {clash['local']!r}, remote {clash['remote']!r}")
    return exits.OK
