"""Records that were read, compared with what is known, merged, and written into the table: all in one transaction.

The order within it: links, then rows, then the outbox, each in order of its key.  Whoever else takes several of these locks
(a push, the application's own change with its `record_change`) takes them in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tasks.sync import ledger, links, outbox, rejects
from tasks.sync.connector import Record
from tasks.sync.decisions import Decision, Seen, decide
from tasks.sync.effects import Scene, apply, note_pushes
from tasks.sync.links import Link
from tasks.sync.local import Row
from tasks.sync.mapping import columns_of
from tasks.sync.rejects import Reject
from tasks.sync.values import hash_of


@dataclass(slots=True)
class Read:
    """Records as they came from the API, in the table's own terms; ``unfit``: those that cannot be."""

    seen: list[Seen] = field(default_factory=list)
    unfit: list[Reject] = field(default_factory=list)


def read_records(scene: Scene, records: Iterable[Record]) -> Read:
    """Bring records into the table's terms, outside any transaction; of a record that came twice, the last counts."""
    read = Read()
    by_id: dict[str, Seen] = {}
    for record in records:
        if record.deleted:
            by_id[record.remote_id] = Seen(record.remote_id, None, record.version, record.updated_at)
            continue
        try:
            by_id[record.remote_id] = seen_of(scene, record)
        except ValueError as error:
            by_id.pop(record.remote_id, None)
            read.unfit.append(unfit(record.remote_id, record.fields, error))
    read.seen = list(by_id.values())
    return read


def seen_of(scene: Scene, record: Record) -> Seen:
    """One record in the table's terms; raises ValueError where it does not fit."""
    values = scene.table.fit(columns_of(scene.connector, record.fields))
    return Seen(record.remote_id, values, record.version, record.updated_at)


def unfit(remote_id: str, fields: Mapping[str, Any] | None, error: ValueError) -> Reject:
    """The reject of a record that the table cannot keep."""
    return Reject(f"r:{remote_id}", "pull", getattr(error, "code", "does_not_fit"), str(error), fields)


@dataclass(slots=True)
class Looked:
    """What records mean: ``decisions`` for those that changed, ``again``: to be read anew, ``echoes``: of the ledger, used up."""

    known: Mapping[str, Link]
    decisions: list[Decision]
    again: set[str]
    echoes: list[int]
    unchanged: int


def look(connection: Connection, scene: Scene, read: Read, *, read_at: datetime) -> Looked:
    """Compare and merge, and write nothing; links and rows of what changed are locked until the transaction ends."""
    seen = {one.remote_id: one for one in read.seen}
    known = links.by_remote(connection, scene.pair, seen)
    changed, again, echoes = _sort(connection, scene, seen, known, read_at)
    unlinked = [one for one in changed if one.remote_id not in known and one.values is not None]
    matches, waiting = _unlinked(connection, scene, unlinked)
    rows = scene.table.read(
        connection, [known[s.remote_id].local_id or "" for s in changed if s.remote_id in known], lock=True
    )
    decisions = []
    for one in changed:
        if one.remote_id in waiting:
            continue
        link = known.get(one.remote_id)
        row = rows.get(link.local_id or "") if link is not None else matches.get(one.remote_id)
        decisions.append(decide(scene.kind, link, row, one, read_at))
    return Looked(known, decisions, again | waiting, echoes, len(seen) - len(changed) - len(again))


def observe(
    connection: Connection, scene: Scene, read: Read, *, read_at: datetime, listed_by: str | None = None
) -> Counter[str]:
    """Take these records in; how many were what.

    ``read_at``    the database's time before the request: what a link has learnt later than that counts more
    ``listed_by``  the run whose full listing this is: these records are marked as seen
    """
    looked = look(connection, scene, read, read_at=read_at)
    counts = Counter(listed=len(read.seen) + len(read.unfit), rejected=len(read.unfit), unchanged=looked.unchanged)
    if listed_by is not None:
        links.mark_seen(connection, (link.id for link in looked.known.values() if link.id is not None), listed_by)
    counts += apply(connection, scene, looked.decisions, listed_by=listed_by)
    note_pushes(connection, scene, looked.decisions)
    outbox.add(connection, scene.pair, [f"r:{remote_id}" for remote_id in looked.again])
    ledger.use(connection, looked.echoes)
    rejects.store(connection, scene.pair, scene.run_id, read.unfit)
    return counts


def _sort(
    connection: Connection, scene: Scene, seen: Mapping[str, Seen], known: Mapping[str, Link], read_at: datetime
) -> tuple[list[Seen], set[str], list[int]]:
    """What has changed, what must be read again, and the ledger's entries that this used up."""
    wrote = ledger.find(connection, scene.pair, known)
    changed: list[Seen] = []
    again: set[str] = set()
    echoes: list[int] = []
    for one in seen.values():
        link = known.get(one.remote_id)
        if link is None:
            if one.values is not None:
                changed.append(one)
            continue
        value_hash = hash_of(one.values) if one.values is not None else ""
        ours = ledger.ours(wrote.get(one.remote_id, ()), value_hash, one.version)
        if ours is not None:
            echoes.append(ours)
        same = value_hash == link.remote_hash and one.version == link.version and link.gone_at is None
        if same or (ours is not None and value_hash != link.remote_hash):
            # Nothing new; or an older state that we wrote ourselves: we have written again since.
            continue
        if one.values is None and link.gone_at is not None:
            continue
        if link.read_at is not None and link.read_at > read_at:
            again.add(one.remote_id)
        else:
            changed.append(one)
    return changed, again, echoes


def _unlinked(connection: Connection, scene: Scene, unlinked: Sequence[Seen]) -> tuple[dict[str, Row], set[str]]:
    """Rows that match these records; and which records must wait, for a create of ours may be what made them."""
    if not unlinked:
        return {}, set()
    creating = [
        entry.intent for entry in outbox.begun(connection, scene.pair) if (entry.intent or {}).get("op") == "create"
    ]
    if creating:
        chosen = {str(intent.get("remote_id")) for intent in creating if intent}
        if None in {(intent or {}).get("remote_id") for intent in creating}:
            return {}, {one.remote_id for one in unlinked}
        waiting = {one.remote_id for one in unlinked if one.remote_id in chosen}
    else:
        waiting = set()
    if not scene.kind.match:
        return {}, waiting
    key_of = {
        one.remote_id: tuple((one.values or {})[name] for name in scene.kind.match)
        for one in unlinked
        if one.remote_id not in waiting
    }
    found = scene.table.matching(connection, list(key_of.values()))
    taken = links.by_local(connection, scene.pair, (row.id for row in found.values()))
    matches: dict[str, Row] = {}
    for remote_id, key in key_of.items():
        row = found.pop(key, None)
        if row is not None and row.id not in taken:
            matches[remote_id] = row
    return matches, waiting
