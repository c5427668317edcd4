"""The outbox: which rows have changed, and which records are to be read again; a row stays until both sides agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text, update

from tasks.sync.links import Pair
from tasks.sync.statements import MAX_CHARACTERS, execute, literals, write_rows
from tasks.sync.tables import sync_outbox
from tasks.sync.values import dump, load

_T = sync_outbox.c
_PART = 500
PENDING, REJECTED = "pending", "rejected"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entity that needs a look; ``intent``: a write that was begun and whose answer is not recorded."""

    id: int
    entity: str
    seq: int
    intent: Mapping[str, Any] | None

    @property
    def local_id(self) -> str | None:
        """The row, if it is one that changed."""
        return self.entity[2:] if self.entity.startswith("l:") else None

    @property
    def remote_id(self) -> str | None:
        """The record, if it is one to be read."""
        return self.entity[2:] if self.entity.startswith("r:") else None


def record_change(connection: Connection, sync_connection: str, kind: str, local_id: str | int) -> None:
    """Note, in the caller's own transaction, that a row was inserted, changed or deleted.

    Rolled back with it; pushed by the next run after it.  Any number of changes of one row are one entry.
    """
    add(connection, Pair(sync_connection, kind), [f"l:{local_id}"])


def add(connection: Connection, pair: Pair, entities: Iterable[str], *, again: bool = True) -> None:
    """Note these entities; those that are there already are as if they had changed again, or, without ``again``, as they are."""
    ending = " ON DUPLICATE KEY UPDATE " + (
        "seq = seq + 1, state = 'pending', changed_at = NOW(6)" if again else "seq = seq"
    )
    literal = literals(connection)
    same = f"({literal(pair.connection)}, {literal(pair.kind)}"
    write_rows(
        connection,
        "INSERT INTO sync_outbox (connection, kind, entity, changed_at) VALUES ",
        (f"{same}, {literal(entity)}, NOW(6))" for entity in sorted(set(entities))),
        ending,
    )


def between(connection: Connection, pair: Pair, after: int, upto: int, limit: int = 100_000) -> list[Entry]:
    """What is pending with ids in ``(after, upto]``, oldest first."""
    query = (
        select(_T.id, _T.entity, _T.seq, _T.intent)
        .where(
            _T.connection == pair.connection,
            _T.kind == pair.kind,
            _T.state == PENDING,
            _T.id > after,
            _T.id <= upto,
        )
        .order_by(_T.id)
        .limit(limit)
    )
    return [Entry(row.id, row.entity, row.seq, load(row.intent)) for row in connection.execute(query)]


def ids(connection: Connection, pair: Pair, after: int, upto: int, limit: int) -> list[tuple[int, str]]:
    """Ids and entities of what is pending, oldest first."""
    query = (
        select(_T.id, _T.entity)
        .where(
            _T.connection == pair.connection,
            _T.kind == pair.kind,
            _T.state == PENDING,
            _T.id > after,
            _T.id <= upto,
        )
        .order_by(_T.id)
        .limit(limit)
    )
    return [(row.id, row.entity) for row in connection.execute(query)]


def newest_id(connection: Connection, pair: Pair) -> int:
    """The highest id: what comes later is the next run's."""
    where = (_T.connection == pair.connection, _T.kind == pair.kind, _T.state == PENDING)
    return int(connection.scalar(select(func.max(_T.id)).where(*where)) or 0)


def begun(connection: Connection, pair: Pair) -> list[Entry]:
    """Entries whose write was begun and whose answer is not recorded."""
    query = (
        select(_T.id, _T.entity, _T.seq, _T.intent)
        .where(_T.connection == pair.connection, _T.kind == pair.kind, _T.state == PENDING, _T.intent.is_not(None))
        .order_by(_T.id)
        .limit(10_000)
    )
    return [Entry(row.id, row.entity, row.seq, load(row.intent)) for row in connection.execute(query)]


def intend(connection: Connection, intents: Mapping[int, Mapping[str, Any]]) -> None:
    """Store what is about to be written, before it is: whoever comes after a crash reads first what became of it."""
    _set_intents(connection, {entry_id: dump(dict(intent)) for entry_id, intent in intents.items()})


def _set_intents(connection: Connection, texts: Mapping[int, str]) -> None:
    literal = literals(connection)
    part: list[tuple[int, str]] = []
    size = 0
    for entry_id, intent in sorted(texts.items()):
        if part and size + len(intent) > MAX_CHARACTERS:
            execute(connection, _intents_of(part))
            part, size = [], 0
        part.append((entry_id, literal(intent)))
        size += len(intent) + 40
    if part:
        execute(connection, _intents_of(part))


def _intents_of(part: Sequence[tuple[int, str]]) -> str:
    whens = " ".join(f"WHEN {entry_id} THEN {intent}" for entry_id, intent in part)
    return f"UPDATE sync_outbox SET intent = CASE id {whens} END WHERE id IN ({', '.join(str(entry) for entry, _ in part)})"


def forget_intents(connection: Connection, entry_ids: Iterable[int]) -> None:
    """The answers to these writes are recorded; the entries stay."""
    wanted = sorted(entry_ids)
    if wanted:
        connection.execute(update(sync_outbox).where(_T.id.in_(wanted)).values(intent=None))


def done(connection: Connection, entries: Sequence[Entry]) -> None:
    """Both sides agree on these entities as they were; one that has changed since stays, without its intent."""
    items = sorted((entry.id, entry.seq) for entry in entries)
    for start in range(0, len(items), _PART):
        part = items[start : start + _PART]
        these = ", ".join(f"({int(entry_id)}, {int(seq)})" for entry_id, seq in part)
        gone = execute(connection, f"DELETE FROM sync_outbox WHERE (id, seq) IN ({these})").rowcount
        if gone < len(part):
            forget_intents(connection, [entry_id for entry_id, _ in part])


def reject(connection: Connection, entries: Sequence[Entry]) -> None:
    """The other side will not take these as they are: they wait until they change, or until somebody says."""
    for entry in entries:
        connection.execute(
            update(sync_outbox).where(_T.id == entry.id, _T.seq == entry.seq).values(state=REJECTED, intent=None)
        )


def find(connection: Connection, pair: Pair, entities: Iterable[str]) -> list[Entry]:
    """The pending entries of these entities."""
    query = (
        select(_T.id, _T.entity, _T.seq, _T.intent)
        .where(
            _T.connection == pair.connection,
            _T.kind == pair.kind,
            _T.entity.in_(sorted(set(entities))),
            _T.state == PENDING,
        )
        .order_by(_T.id)
    )
    return [Entry(row.id, row.entity, row.seq, load(row.intent)) for row in connection.execute(query)]


def states(connection: Connection, entry_ids: Iterable[int]) -> dict[int, str]:
    """The states of those of these entries that are still there."""
    query = select(_T.id, _T.state).where(_T.id.in_(sorted(entry_ids)))
    return {row.id: row.state for row in connection.execute(query)}


def counts(connection: Connection, pair: Pair) -> dict[str, int]:
    """How many entries there are of each state."""
    query = (
        select(_T.state, func.count()).where(_T.connection == pair.connection, _T.kind == pair.kind).group_by(_T.state)
    )
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def oldest_age_s(connection: Connection, pair: Pair) -> float | None:
    """How long the oldest pending entry has been waiting."""
    seconds = connection.scalar(
        text(
            "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(changed_at), NOW(6)) / 1000000 FROM sync_outbox"
            " WHERE connection = :connection AND kind = :kind AND state = 'pending'"
        ),
        pair._asdict(),
    )
    return None if seconds is None else float(seconds)
