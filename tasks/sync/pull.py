"""The pull of one page: listed outside any transaction, taken in together with the cursor behind it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
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
    """One page; ``read_at``: the database's time before it was asked for.

    ``restarts``  how often this run has begun its listing again, because the API did not know the place any more
    """

    page: Page
    read_at: datetime
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listing goes on, by the database: ``kept`` is where the last page that was taken in says to."""

    read_at: datetime
    kept: Any


def list_page(
    scene: Scene, cursor: Any, *, full: bool, spot: Spot, place: Callable[[], Place], restarts: int = 0
) -> Listed:
    """Ask for one page, if it was not fetched ahead.  Where the API does not know the cursor any more, the listing begins again:
    one of changes behind the last page that was taken in, and in full where that is not known either; a full one at its beginning.

    ``spot``   where a page that was fetched ahead is found (`tasks.sync.ahead`)
    ``place``  asks the database, where one is needed

    Raises `ListingLost` after `MAX_RESTARTS` of them in one run: each one costs what the listing has cost so far.
    """
    here: Place | None = None
    try:
        fetched = take(spot, scene.connector)
        if fetched is not None:
            return Listed(fetched.page, fetched.read_at, restarts)
        here = place()
        return Listed(scene.connector.list_changes(cursor, full=full), here.read_at, restarts)
    except CursorExpired as error:
        if cursor is None:
            raise
        if restarts >= MAX_RESTARTS:
            raise ListingLost(
                f"the API has forgotten the place in its listing {restarts + 1} times in one run ({error}); what was listed is "
                "taken in, and the next run goes on. If it happens again: larger pages, more workers, or fewer runs at a time, so "
                "that the listing ends before its cursors do"
            ) from error
    here = here or place()
    page = _begin_again(scene, None if full or here.kept == cursor else here.kept)
    return Listed(page, here.read_at, restarts + 1)


def read_page(scene: Scene, page: Page) -> Read:
    """The page in the table's terms."""
    read = read_records(scene, page.records)
    read.unfit += [_unreadable(piece) for piece in page.unreadable]
    return read


def _begin_again(scene: Scene, kept: Any) -> Page:
    if kept is not None:
        try:
            return scene.connector.list_changes(kept)
        except CursorExpired:
            pass
    return scene.connector.list_changes(None, full=True)


def take_in(connection: Connection, scene: Scene, listed: Listed, read: Read) -> Counter[str]:
    """Write one page and move the cursor: both or neither."""
    page = listed.page
    counts = observe(connection, scene, read, read_at=listed.read_at, listed_by=scene.run_id if page.full else None)
    # The end of a full listing is noted once its missing records are dealt with (`missing`).
    cursors.move(connection, scene.pair, page.resume_cursor, scene.run_id)
    counts["pages"] += 1
    return counts


def _unreadable(piece: Unreadable) -> Reject:
    """The reject of a piece of a page that is no record; without an id, it is known by what it is."""
    digest = hashlib.sha256(piece.original.encode()).hexdigest()[:32]
    return Reject(f"r:?{digest}", "pull", "no_record", piece.reason, {"original": piece.original})
