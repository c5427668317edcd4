"""The pull of one page: listed outside any transaction, taken in together with the cursor behind it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tasks.sync import cursors
from tasks.sync.connector import CursorExpired, Page, Unreadable
from tasks.sync.effects import Scene
from tasks.sync.observe import Read, observe, read_records
from tasks.sync.rejects import Reject


@dataclass(frozen=True, slots=True)
class Listed:
    """One page in the table's terms; ``read_at``: the database's time before it was asked for."""

    page: Page
    read: Read
    read_at: datetime


def list_page(scene: Scene, cursor: Any, *, full: bool, read_at: datetime) -> Listed:
    """Ask for one page.  A cursor that the API does not know any more begins a full listing."""
    try:
        page = scene.connector.list_changes(cursor, full=full)
    except CursorExpired:
        if cursor is None:
            raise
        page = scene.connector.list_changes(None, full=True)
    read = read_records(scene, page.records)
    read.unfit += [_unreadable(piece) for piece in page.unreadable]
    return Listed(page, read, read_at)


def take_in(connection: Connection, scene: Scene, listed: Listed) -> Counter[str]:
    """Write one page and move the cursor: both or neither."""
    page = listed.page
    counts = observe(
        connection, scene, listed.read, read_at=listed.read_at, listed_by=scene.run_id if page.full else None
    )
    # The end of a full listing is noted once its missing records are dealt with (`missing`).
    cursors.move(connection, scene.pair, page.resume_cursor, scene.run_id)
    counts["pages"] += 1
    return counts


def _unreadable(piece: Unreadable) -> Reject:
    """The reject of a piece of a page that is no record; without an id, it is known by what it is."""
    digest = hashlib.sha256(piece.original.encode()).hexdigest()[:32]
    return Reject(f"r:?{digest}", "pull", "no_record", piece.reason, {"original": piece.original})
