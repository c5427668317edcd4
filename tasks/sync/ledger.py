"""The ledger: what we wrote to the API, by value hash, each entry used once, so that it does not come back as an edit.

The base tells most echoes: what we wrote last is what both agree on.  The ledger tells those that come late, after we have
written again: an older state of a record, in a listing that was made before, is ours and nobody's edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from tasks.sync.links import Pair
from tasks.sync.statements import literals, write_rows
from tasks.sync.tables import sync_ledger

_T = sync_ledger.c
_PART = 500
KEEP_DAYS = 7


class Wrote(NamedTuple):
    """One write of ours."""

    remote_id: str
    value_hash: str
    version: str | None


def write(connection: Connection, pair: Pair, writes: Sequence[Wrote]) -> None:
    """Note what was written."""
    literal = literals(connection)
    same = f"({literal(pair.connection)}, {literal(pair.kind)}"
    write_rows(
        connection,
        "INSERT INTO sync_ledger (connection, kind, remote_id, value_hash, version) VALUES ",
        (f"{same}, {literal(w.remote_id)}, {literal(w.value_hash)}, {literal(w.version)})" for w in writes),
    )


def find(connection: Connection, pair: Pair, remote_ids: Iterable[str]) -> dict[str, list[tuple[int, Wrote]]]:
    """The entries that are not used yet, by record, oldest first."""
    wanted = sorted(set(remote_ids))
    found: dict[str, list[tuple[int, Wrote]]] = {}
    for start in range(0, len(wanted), _PART):
        query = (
            select(_T.id, _T.remote_id, _T.value_hash, _T.version)
            .where(
                _T.connection == pair.connection,
                _T.kind == pair.kind,
                _T.remote_id.in_(wanted[start : start + _PART]),
            )
            .order_by(_T.remote_id, _T.id)
        )
        for row in connection.execute(query):
            found.setdefault(row.remote_id, []).append((row.id, Wrote(row.remote_id, row.value_hash, row.version)))
    return found


def ours(entries: Sequence[tuple[int, Wrote]], value_hash: str, version: str | None) -> int | None:
    """The entry that says that this state of the record was written by us, or None."""
    for entry_id, wrote in entries:
        if wrote.value_hash == value_hash and (wrote.version is None or version is None or wrote.version == version):
            return entry_id
    return None


def use(connection: Connection, ids: Iterable[int]) -> None:
    """These were seen: used once, gone."""
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _PART):
        connection.execute(sync_ledger.delete().where(_T.id.in_(wanted[start : start + _PART])))


def forget_old(connection: Connection, pair: Pair, *, most: int = 5000) -> None:
    """Entries of writes that no listing has shown in a week."""
    connection.execute(
        text(
            "DELETE FROM sync_ledger WHERE connection = :connection AND kind = :kind"
            f" AND written_at < NOW(6) - INTERVAL {KEEP_DAYS} DAY LIMIT :most"
        ),
        {**pair._asdict(), "most": most},
    )
