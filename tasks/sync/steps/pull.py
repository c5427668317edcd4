"""One page of a listing, recorded together with the cursor behind it."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.kinds import Json, Work
from tasks.sync import cursors, links
from tasks.sync.cursors import Cursor
from tasks.sync.dry_run import foresee_page
from tasks.sync.effects import Scene
from tasks.sync.pull import list_page, take_in
from tasks.sync.steps.order import next_step


def pull(work: Work, scene: Scene) -> Mapping[str, Json]:
    """List outside any transaction, record in this job's."""
    payload = work.payload
    with work.engine.connect() as connection:
        read_at = links.now(connection)
        kept = cursors.read(connection, scene.pair)
    if "cursor" in payload:
        cursor, full = payload["cursor"], payload["full"]
    else:
        cursor, full = kept.position, bool(work.args["full"] or _full_is_due(scene, kept))
    listed = list_page(
        scene, cursor, full=full, read_at=read_at, kept=kept.position, restarts=payload.get("restarts", 0)
    )
    page = listed.page
    # Where some pieces could not be read, or the API did not list what it was asked for, absence says nothing.
    sure = payload.get("sure", True) and not page.unreadable and not page.filter_ignored
    began = payload.get("began") or read_at.isoformat()
    if page.next_cursor is not None:
        further = {"do": "pull", "cursor": page.next_cursor, "full": page.full, "began": began, "sure": sure}
        work.add_job(further | ({"restarts": listed.restarts} if listed.restarts else {}))
    elif page.full and sure:
        work.add_job({"do": "missing", "after": 0, "began": began})
    else:
        next_step(work, "pull")
    if work.args["dry_run"]:
        work.on_record(lambda c: foresee_page(c, scene, listed))
    else:
        work.on_record(lambda c: dict(take_in(c, scene, listed)))
    return {}


def _full_is_due(scene: Scene, kept: Cursor) -> bool:
    every = scene.kind.full_every_s
    return every is not None and (kept.full_age_s is None or kept.full_age_s >= every)
