"""The scan: rows that differ from the last common state, found by comparing hashes, for those who cannot `record_change`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from tasks.sync import links
from tasks.sync.effects import Scene
from tasks.sync.values import hash_of

ROWS = 1000


@dataclass(frozen=True, slots=True)
class Scanned:
    """``entities``: what goes into the outbox; ``after``: where to go on, None: that was all; ``rows``: how many were compared."""

    entities: Sequence[str]
    after: str | int | None
    rows: int


def scan_rows(connection: Connection, scene: Scene, after: str | None) -> Scanned:
    """Rows that are new or changed, by key."""
    rows = scene.table.page(connection, after, ROWS)
    known = links.by_local(connection, scene.pair, (row.id for row in rows), lock=False)
    changed = [
        f"l:{row.id}"
        for row in rows
        if (link := known.get(row.id)) is None or link.remote_id is None or link.local_hash != hash_of(row.values)
    ]
    return Scanned(changed, rows[-1].id if len(rows) == ROWS else None, len(rows))


def scan_links(connection: Connection, scene: Scene, after: int) -> Scanned:
    """Links whose rows are gone, by link id."""
    some = links.page(connection, scene.pair, after, ROWS)
    rows = scene.table.read(connection, (link.local_id or "" for link in some))
    missing = [f"l:{link.local_id}" for link in some if link.local_id is not None and link.local_id not in rows]
    return Scanned(missing, some[-1].id if len(some) == ROWS else None, len(some))
