"""Deletes on the API's side: what a full listing did not have, and the rows whose records are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from tasks.sync import audit, conflicts, links, rejects
from tasks.sync.audit import Change
from tasks.sync.connector import Record
from tasks.sync.decisions import Decision, Do, decide
from tasks.sync.effects import Scene, apply, note_pushes
from tasks.sync.links import Link
from tasks.sync.merge import Side
from tasks.sync.observe import Read, read_records
from tasks.sync.rejects import Reject
from tasks.sync.tables import sync_links

BATCH = 200
_T = sync_links.c


def count_missing(connection: Connection, scene: Scene, began_at: datetime) -> tuple[int, int]:
    """How many known records a full listing, begun at ``began_at``, did not have, and how many there are."""
    known = (
        _T.connection == scene.pair.connection,
        _T.kind == scene.pair.kind,
        _T.remote_id.is_not(None),
        _T.created_at < began_at,
    )
    unseen = (_T.seen_run.is_(None)) | (_T.seen_run != scene.run_id)
    total = connection.scalar(select(func.count()).select_from(sync_links).where(*known)) or 0
    missing = connection.scalar(
        select(func.count()).select_from(sync_links).where(*known, _T.gone_at.is_(None), unseen)
    )
    return int(missing or 0), int(total)


def confirm_missing(scene: Scene, some: Sequence[Link]) -> Read:
    """Ask for each: pages may shift while they are listed, and what was only missed is not gone."""
    found = Read()
    for link in some:
        assert link.remote_id is not None
        record = scene.connector.get(link.remote_id) or Record(link.remote_id, {}, deleted=True)
        one = read_records(scene, [record])
        found.seen += one.seen
        found.unfit += one.unfit
    return found


def delete_rows(connection: Connection, scene: Scene, after: int) -> tuple[Counter[str], int | None]:
    """Delete a batch of rows whose records are gone, unless they were edited since; where to go on, None: that was all."""
    some = [link for link in links.gone(connection, scene.pair, after=after, limit=BATCH) if link.id is not None]
    rows = scene.table.read(connection, (link.local_id or "" for link in some), lock=True)
    read_at = links.now(connection)
    decisions = [decide(scene.kind, link, rows.get(link.local_id or ""), None, read_at) for link in some]
    others = [d for d in decisions if d.local is not Do.DELETE]
    apply(connection, scene, others)
    note_pushes(connection, scene, others)
    counts = delete_decided(connection, scene, decisions)
    return counts, (some[-1].id if len(some) == BATCH else None)


def delete_decided(connection: Connection, scene: Scene, decisions: Sequence[Decision]) -> Counter[str]:
    """Delete the rows of these decisions that say so, with their links; rows that the server keeps are rejects."""
    going = {d.row.id: d for d in decisions if d.local is Do.DELETE and d.row is not None and d.before is not None}
    refused = scene.table.delete(connection, list(going))
    gone = [d for row_id, d in going.items() if row_id not in refused]
    conflicts.drop_links(connection, (d.before.id for d in gone if d.before is not None and d.before.id is not None))
    audit.write(
        connection,
        scene.pair,
        scene.run_id,
        [
            Change(d.row.id, d.before.remote_id, Side.LOCAL.value, "delete", d.row.values, None)
            for d in gone
            if d.row is not None and d.before is not None
        ],
    )
    rejects.store(
        connection,
        scene.pair,
        scene.run_id,
        [Reject(f"l:{row_id}", "pull", why.code, str(why), None) for row_id, why in refused.items()],
    )
    return Counter(deleted=len(gone), rejected=len(refused))
