"""Rows that nobody told of, found by their hashes: first those that are there, then those that are not any more."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.kinds import Json, Work
from tasks.sync import outbox
from tasks.sync.dry_run import foresee_rows
from tasks.sync.effects import Scene
from tasks.sync.scan import scan_links, scan_rows
from tasks.sync.steps.order import next_step


def scan(work: Work, scene: Scene) -> Mapping[str, Json]:
    """One stretch of the table, or of the links."""
    if not (scene.kind.scan or work.args["full"]):
        next_step(work, "scan")
        return {}
    payload = work.payload
    of = payload.get("of", "rows")
    with work.engine.connect() as connection:
        if of == "rows":
            scanned = scan_rows(connection, scene, payload.get("after"))
        else:
            scanned = scan_links(connection, scene, payload.get("after") or 0)
    if scanned.after is not None:
        work.add_job({"do": "scan", "of": of, "after": scanned.after})
    elif of == "rows":
        work.add_job({"do": "scan", "of": "links"})
    else:
        next_step(work, "scan")
    if work.args["dry_run"]:
        local_ids = [entity[2:] for entity in scanned.entities]
        work.on_record(lambda c: foresee_rows(c, scene, local_ids))
        return {"scanned": scanned.rows}
    # What was refused as it is waits for a change or for a full run.
    again = bool(work.args["full"])
    work.on_record(lambda c: outbox.add(c, scene.pair, scanned.entities, again=again))
    return {"scanned": scanned.rows, "found_by_scan": len(scanned.entities)}
