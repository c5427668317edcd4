"""A plan's entries: what a run would write on both sides, field by field, and what it had seen when it said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text

from tasks.sync.decisions import Decision, Do, Seen
from tasks.sync.tables import sync_plan_entries
from tasks.sync.values import dump, hash_of, load

_T = sync_plan_entries.c
_PART = 200
PLANNED, BEGUN = "planned", "begun"
OPEN = (PLANNED, BEGUN)
"""Statuses of entries that are still to be applied; ``begun``: the table's side is done, the API's may be under way."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What would be done about one entity, and the state that this follows from."""

    entity: str
    local_id: str | None
    remote_id: str | None
    link_seq: int | None
    local_hash: str | None
    remote_hash: str | None
    remote_version: str | None
    local_change: Mapping[str, Any] | None
    remote_change: Mapping[str, Any] | None
    conflicts: Sequence[Mapping[str, Any]] | None
    id: int = 0
    status: str = "planned"
    reason: str | None = None

    def same_as(self, other: Entry) -> str | None:
        """What of the state has moved since, or None."""
        if self.status == BEGUN:
            return self._goes_on_as(other)
        for name, what in (
            ("link_seq", "the link"),
            ("local_hash", "the row"),
            ("remote_hash", "the record"),
            ("remote_version", "the record's version"),
        ):
            if getattr(self, name) != getattr(other, name):
                return f"{what} has changed since the plan was made"
        if (self.local_change, self.remote_change) != (other.local_change, other.remote_change):
            return "what would be written has changed since the plan was made"
        return None

    def _goes_on_as(self, other: Entry) -> str | None:
        """The table's side is done; the API's must be what it was, and that includes the row: what is written comes from it."""
        same = other.local_change is None and self.remote_change == other.remote_change
        if self.remote_id is None:
            same = same and other.remote_id is None
        else:
            same = same and (self.remote_hash, self.remote_version) == (other.remote_hash, other.remote_version)
        if not same:
            return "one side has changed since the other was written; the next run goes on"
        return None


def entry_of(decision: Decision, seen: Seen | None) -> Entry | None:
    """The entry for a decision; None where it writes nothing and nobody has to decide."""
    if decision.local is Do.NOTHING and decision.remote is Do.NOTHING and not decision.clashes:
        return None
    link, row = decision.before, decision.row
    local_id = row.id if row is not None else (link.local_id if link is not None else None)
    remote_id = seen.remote_id if seen is not None else (link.remote_id if link is not None else None)
    remote = seen.values if seen is not None else (dict(link.base.remote) if link is not None else None)
    return Entry(
        entity=f"l:{local_id}" if local_id is not None else f"r:{remote_id}",
        local_id=local_id,
        remote_id=remote_id,
        link_seq=link.seq if link is not None else None,
        local_hash=hash_of(row.values) if row is not None else None,
        remote_hash=hash_of(remote) if remote is not None else None,
        remote_version=_version(decision, seen),
        local_change=_change(decision.local, decision.local_values, row.values if row is not None else None),
        remote_change=_change(decision.remote, decision.remote_values, remote),
        conflicts=[{"field": c.field, "base": c.base, "local": c.local, "remote": c.remote} for c in decision.clashes]
        or None,
    )


def _version(decision: Decision, seen: Seen | None) -> str | None:
    if seen is None:
        return decision.before.version if decision.before is not None else None
    # A tombstone has a version, and what is asked for and not there has none.
    return seen.version if seen.values is not None else None


def _change(do: Do, values: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if do is Do.NOTHING:
        return None
    old = before or {}
    if do is Do.DELETE:
        return {"action": "delete", "fields": {name: [value, None] for name, value in old.items()}}
    return {"action": do.value, "fields": {name: [old.get(name), value] for name, value in values.items()}}


def store(connection: Connection, plan_id: str, entries: Sequence[Entry]) -> None:
    """Keep entries; of an entity that has one already, the first stays: it knows more of the record."""
    for start in range(0, len(entries), _PART):
        part = entries[start : start + _PART]
        connection.exec_driver_sql(
            "INSERT INTO sync_plan_entries (plan_id, entity, local_id, remote_id, link_seq, local_hash, remote_hash,"
            " remote_version, local_change, remote_change, conflicts) VALUES "
            + ", ".join(["(" + ", ".join(["%s"] * 11) + ")"] * len(part))
            + " ON DUPLICATE KEY UPDATE plan_id = plan_id",
            tuple(
                value
                for e in part
                for value in (
                    plan_id,
                    e.entity,
                    e.local_id,
                    e.remote_id,
                    e.link_seq,
                    e.local_hash,
                    e.remote_hash,
                    e.remote_version,
                    None if e.local_change is None else dump(e.local_change),
                    None if e.remote_change is None else dump(e.remote_change),
                    None if e.conflicts is None else dump(list(e.conflicts)),
                )
            ),
        )


def read(
    connection: Connection,
    plan_id: str,
    *,
    after: int = 0,
    upto: int | None = None,
    open_only: bool = False,
    limit: int = 1000,
) -> list[Entry]:
    """Entries in the order in which they were made."""
    query = select(sync_plan_entries).where(_T.plan_id == plan_id, _T.id > after).order_by(_T.id).limit(limit)
    if upto is not None:
        query = query.where(_T.id <= upto)
    if open_only:
        query = query.where(_T.status.in_(OPEN))
    return [
        Entry(
            row.entity,
            row.local_id,
            row.remote_id,
            row.link_seq,
            row.local_hash,
            row.remote_hash,
            row.remote_version,
            load(row.local_change),
            load(row.remote_change),
            load(row.conflicts),
            row.id,
            row.status,
            row.reason,
        )
        for row in connection.execute(query)
    ]


def begin(connection: Connection, entry_id: int) -> None:
    """The table's side is done, in this transaction; whoever tries the entry again goes on with the API's."""
    connection.execute(
        text("UPDATE sync_plan_entries SET status = 'begun' WHERE id = :id AND status = 'planned'"), {"id": entry_id}
    )


def settle(connection: Connection, entry_id: int, status: str, reason: str | None = None) -> None:
    """Note what became of an entry: applied, or refused and why."""
    connection.execute(
        text(
            "UPDATE sync_plan_entries SET status = :status, reason = :reason"
            " WHERE id = :id AND status IN ('planned', 'begun')"
        ),
        {"status": status, "reason": reason, "id": entry_id},
    )


def counts(connection: Connection, plan_id: str) -> dict[str, int]:
    """How many entries have which status."""
    query = select(_T.status, func.count()).where(_T.plan_id == plan_id).group_by(_T.status)
    return {row[0]: int(row[1]) for row in connection.execute(query)}
