"""What operators see of a sync's run: what it moved, what is open between the two sides, what waits for a person."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from tasks.report import Figure, Report, RunSeen, Table
from tasks.sync import conflicts, cursors, links, outbox, plan_entries, rejects
from tasks.sync.links import Pair
from tasks.sync.values import load

FIRST = 10
_MOST_COUNTED = 1000
_VALUE_CHARS = 120


def sync_report(connection: Connection, seen: RunSeen) -> Report:
    """The run's counts, the pair's standing, its first conflicts and rejects; of a dry run, its plan."""
    pair = Pair(str(seen.args["connection"]), str(seen.args["kind"]))
    if seen.args.get("dry_run"):
        return plan_report(connection, seen.run_id, seen)
    waiting = outbox.counts(connection, pair)
    clashes = conflicts.find(connection, pair, limit=_MOST_COUNTED)
    rejected = rejects.count(connection, pair)
    full_age_s = cursors.read(connection, pair).full_age_s
    figures = [
        *seen.figures(*(name for name, value in seen.totals.items() if isinstance(value, int))),
        Figure("links", links.count(connection, pair)["links"]),
        Figure("outbox", waiting.get(outbox.PENDING, 0)),
        Figure("open conflicts", _count(len(clashes)), "warn" if clashes else ""),
        Figure("rejects now", rejected, "bad" if rejected else ""),
        Figure("listed in full", "never" if full_age_s is None else f"{full_age_s / 60:,.0f} min ago"),
    ]
    tables, todo = [], []
    if clashes:
        rows = [
            (row.id, row.field, *(_short(load(value)) for value in (row.base, row.local, row.remote)))
            for row in clashes[:FIRST]
        ]
        note = f"the first {FIRST} of {_count(len(clashes))}" if len(clashes) > FIRST else ""
        tables.append(Table("Conflicts", ("Conflict>", "Field", "Was", "Table", "API"), rows, note))
        todo.append(
            f"`python -m ops sync conflicts list {pair.connection}`, then `python -m ops sync conflicts resolve ID --keep local`"
        )
    if rejected:
        found = rejects.find(connection, pair, limit=FIRST)
        rows = [(row.entity, row.direction, row.code, row.reason, _short(load(row.record))) for row in found]
        note = f"the newest {FIRST} of {rejected:,}" if rejected > FIRST else ""
        tables.append(Table("Rejects", ("Entity", "Direction", "Code", "Reason", "Record"), rows, note))
        todo.append(f"Once mended: `python -m ops sync rejects retry {pair.connection} {pair.kind}`")
    return Report(f"Sync of {pair.connection}/{pair.kind}", figures, tables, todo)


def application_report(connection: Connection, seen: RunSeen) -> Report:
    """The plan that is applied, by what became of its entries."""
    return plan_report(connection, str(seen.args["plan_id"]), seen)


def plan_report(connection: Connection, plan_id: str, seen: RunSeen) -> Report:
    """A plan's entries by status, and the first of them with both sides, field by field."""
    figures = [Figure(status, n) for status, n in plan_entries.counts(connection, plan_id).items()]
    rows = [
        (
            entry.local_id or "",
            entry.remote_id or "",
            _told(entry.local_change),
            _told(entry.remote_change),
            entry.reason or entry.status,
        )
        for entry in plan_entries.read(connection, plan_id, limit=FIRST)
    ]
    table = Table("The first entries", ("Row", "Record", "In the table", "At the API", "Stands"), rows)
    todo = [f"`python -m ops sync plan show {plan_id}`"]
    return Report("Plan", [*figures, *seen.figures("conflicts")], [table] if rows else [], todo)


def _count(found: int) -> str:
    return f"{found:,} or more" if found >= _MOST_COUNTED else str(found)


def _told(change: Any) -> str:
    if not change:
        return ""
    fields = (f"{name}: {_short(old)} → {_short(new)}" for name, (old, new) in change.get("fields", {}).items())
    return f"{change['action']} " + "; ".join(fields)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else repr(value)
    return text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + " …"
