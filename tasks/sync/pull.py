"""The pull of one page: listed outside any transaction, taken in together with the cursor behind it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tasks.sync import cursors
from tasks.sync.ahead import Spot, take
from tasks.sync.connector import CursorExpired, Page, Unreadable
from tasks.sync.effects import Scene
from tasks.sync.errors import ListingLost
from tasks.sync.observe import Read, observe, read_records
from tasks.sync.rejects import Reject

MAX_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """One page in the table's terms; ``read_at``: the database's time before it was asked for.

    ``restarts``  how often this run has begun its listing again, because the API did not know the place any more
    """

    page: Page
    read: Read
    read_at: datetime
    restarts: int = 0


def list_page(
    scene: Scene,
    cursor: Any,
    *,
    full: bool,
    read_at: datetime,
    spot: Spot | None = None,
    kept: Any = None,
    restarts: int = 0,
) -> Listed:
    """Ask for one page, if it was not fetched ahead.  Where the API does not know the cursor any more, the listing begins again.

    ``spot``  where a page that was fetched ahead is found (`tasks.sync.ahead`)
    ``kept``  where the last page that was taken in says to go on from: a listing of changes begins there, and in full where
              that is not known either; a full listing begins at its beginning

    Raises `ListingLost` after `MAX_RESTARTS` of them in one run: each one costs what the listing has cost so far.
    """
    try:
        fetched = take(spot, scene.connector) if spot is not None else None
        if fetched is not None:
            page, read_at = fetched.page, fetched.read_at
        else:
            page = scene.connector.list_changes(cursor, full=full)
    except CursorExpired as error:
        if cursor is None:
            raise
        if restarts >= MAX_RESTARTS:
            raise ListingLost(
                f"the API has forgotten the place in its listing {restarts + 1} times in one run ({error}); what was listed is "
                "taken in, and the next run goes on. If it happens again: larger pages, more workers, or fewer runs at a time, so "
                "that the listing ends before its cursors do"
            ) from error
        restarts += 1
        page = _begin_again(scene, None if full or kept == cursor else kept)
    read = read_records(scene, page.records)
    read.unfit += [_unreadable(piece) for piece in page.unreadable]
    return Listed(page, read, read_at, restarts)


def _begin_again(scene: Scene, kept: Any) -> Page:
    if kept is not None:
        try:
            return scene.connector.list_changes(kept)
        except CursorExpired:
            pass
    return scene.connector.list_changes(None, full=True)


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
