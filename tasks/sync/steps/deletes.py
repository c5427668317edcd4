"""Rows whose records are gone: all of them counted first, then deleted batch by batch."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.kinds import Json, Work
from tasks.sync import links
from tasks.sync.dry_run import foresee_gone
from tasks.sync.effects import Scene
from tasks.sync.guard import check_deletes
from tasks.sync.missing import BATCH, delete_rows
from tasks.sync.steps.order import next_step


def deletes(work: Work, scene: Scene) -> Mapping[str, Json]:
    """One batch; before the first, the guard counts all."""
    after = work.payload.get("after", 0)
    dry_run = work.args["dry_run"]
    if not scene.kind.may_delete("local"):
        next_step(work, "deletes")
        return {}
    with work.engine.connect() as connection:
        if after == 0 and not (work.args["allow_deletes"] or dry_run):
            known = links.count(connection, scene.pair)
            check_deletes(scene.kind, known["gone"], known["links"], where="rows")
        some = links.gone(connection, scene.pair, after=after, limit=BATCH)
        connection.rollback()
    if len(some) == BATCH:
        work.add_job({"do": "deletes", "after": some[-1].id})
    else:
        next_step(work, "deletes")
    if some and dry_run:
        # Staged by a run that the guard stopped: this plan is where somebody looks at what it would delete.
        work.on_record(lambda c: dict(foresee_gone(c, scene, some)))
    elif some:
        work.on_record(lambda c: dict(delete_rows(c, scene, after)[0]))
    return {}
