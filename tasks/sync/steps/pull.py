"""One page of a listing, recorded together with the cursor behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tasks.kinds import Json, Work
from tasks.sync import ahead, cursors, links
from tasks.sync.ahead import Spot
from tasks.sync.connector import Page
from tasks.sync.cursors import Cursor
from tasks.sync.dry_run import foresee_page
from tasks.sync.effects import Scene
from tasks.sync.pull import Place, list_page, read_page, take_in
from tasks.sync.steps.order import next_step


def pull(work: Work, scene: Scene) -> Mapping[str, Json]:
    """List outside any transaction, record in this job's."""
    payload = work.payload
    place: Callable[[], Place] = partial(_place, work, scene)
    if "cursor" in payload:
        cursor, full = payload["cursor"], payload["full"]
    else:
        with work.engine.connect() as connection:
            kept = cursors.read(connection, scene.pair)
        cursor, full = kept.position, bool(work.args["full"] or _full_is_due(scene, kept))
    spot = Spot.of(work.run_id, work.fence, cursor, full=full)
    listed = list_page(scene, cursor, full=full, spot=spot, place=place, restarts=payload.get("restarts", 0))
    page = listed.page
    # Where some pieces could not be read, or the API did not list what it was asked for, absence says nothing.
    sure = payload.get("sure", True) and not page.unreadable and not page.filter_ignored
    began = payload.get("began") or listed.read_at.isoformat()
    if page.next_cursor is not None:
        further = {"do": "pull", "cursor": page.next_cursor, "full": page.full, "began": began, "sure": sure}
        work.add_job(further | ({"restarts": listed.restarts} if listed.restarts else {}))
        _fetch_ahead(work, scene, page)
    elif page.full and sure:
        work.add_job({"do": "missing", "after": 0, "began": began})
    else:
        next_step(work, "pull")
    # Only now: the next page is under way while this one is being read.
    read = read_page(scene, page)
    if work.args["dry_run"]:
        work.on_record(lambda c: foresee_page(c, scene, listed, read))
    else:
        work.on_record(lambda c: dict(take_in(c, scene, listed, read)))
    return {}


def _place(work: Work, scene: Scene) -> Place:
    with work.engine.connect() as connection:
        return Place(links.now(connection), cursors.read(connection, scene.pair).position)


def _fetch_ahead(work: Work, scene: Scene, page: Page) -> None:
    """Ask for the next page while this one is recorded, where this process goes on with it: for another it would be lost."""
    if not work.goes_on():
        return
    work.stop_if_asked()
    with work.engine.connect() as connection:
        read_at = links.now(connection)
    connector, cursor, full = scene.connector, page.next_cursor, page.full
    spot = Spot.of(work.run_id, work.fence, cursor, full=full)
    ahead.fetch(spot, connector, read_at, lambda: connector.list_changes(cursor, full=full))


def _full_is_due(scene: Scene, kept: Cursor) -> bool:
    every = scene.kind.full_every_s
    return every is not None and (kept.full_age_s is None or kept.full_age_s >= every)
