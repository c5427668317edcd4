"""What a full listing did not have is asked for one by one, if the guard lets it; what is gone is staged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from tasks.kinds import Json, Work
from tasks.sync import cursors, links
from tasks.sync.dry_run import foresee
from tasks.sync.effects import Scene
from tasks.sync.guard import check_deletes
from tasks.sync.missing import BATCH, confirm_missing, count_missing
from tasks.sync.observe import observe
from tasks.sync.steps.order import next_step


def missing(work: Work, scene: Scene) -> Mapping[str, Json]:
    """One batch; before the first, the guard counts all."""
    began, after = datetime.fromisoformat(work.payload["began"]), work.payload["after"]
    with work.engine.connect() as connection:
        read_at = links.now(connection)
        if after == 0 and not (work.args["allow_deletes"] or work.args["dry_run"]):
            absent, known = count_missing(connection, scene, began)
            if scene.kind.may_delete("local"):
                check_deletes(scene.kind, absent, known, where="rows", listed_nothing=absent == known)
        some = links.unseen(connection, scene.pair, work.run_id, before=began, after=after, limit=BATCH)
    found = confirm_missing(scene, some)
    last = len(some) < BATCH
    if last:
        next_step(work, "pull")
    else:
        work.add_job({**work.payload, "after": some[-1].id})

    def effects(connection: Connection) -> dict[str, Json]:
        if work.args["dry_run"]:
            return foresee(connection, scene, found, read_at)
        counts = observe(connection, scene, found, read_at=read_at)
        if last:
            kept = cursors.read(connection, scene.pair)
            cursors.move(connection, scene.pair, kept.position, work.run_id, listed_all=True)
        return {"missing": len(some), **{name: counts[name] for name in ("created", "updated", "rejected")}}

    work.on_record(effects)
    return {}
