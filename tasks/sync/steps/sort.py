"""The outbox cut into batches; before the first, what would be deleted at the API is counted."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from tasks.kinds import Json, Work
from tasks.sync import links, outbox
from tasks.sync.dry_run import foresee_outbox
from tasks.sync.effects import Scene
from tasks.sync.guard import check_deletes

SORT_JOBS = 200
"""Batches that one job cuts."""
BATCH = 200
REQUESTS = 5
"""Of a batch at an API that takes several writes a request: while one is under way its neighbours are prepared and recorded."""


def sort(work: Work, scene: Scene) -> Mapping[str, Json]:
    """Cut the next batches, up to what was in the outbox when the first were cut: what comes later is the next run's."""
    payload = work.payload
    after = payload.get("after", 0)
    if work.args["dry_run"]:
        _foresee(work, scene, after)
        return {}
    size = _size(scene)
    with work.engine.connect() as connection:
        upto = payload.get("upto") or outbox.newest_id(connection, scene.pair)
        if after == 0 and scene.kind.may_delete("remote") and not work.args["allow_deletes"]:
            going, known = _count_remote_deletes(connection, scene, upto)
            check_deletes(scene.kind, going, known, where="records at the API")
        ids = outbox.ids(connection, scene.pair, after, upto, SORT_JOBS * size)
    for start in range(0, len(ids), size):
        part = ids[start : start + size]
        work.add_job({"do": "push", "after": part[0][0] - 1, "upto": part[-1][0]})
    if len(ids) == SORT_JOBS * size:
        work.add_job({"do": "sort", "after": ids[-1][0], "upto": upto})
    return {"to_push": len(ids)}


def _size(scene: Scene) -> int:
    """Entities a batch."""
    return scene.kind.batch or max(BATCH, REQUESTS * scene.connector.capabilities.batch_size)


def _foresee(work: Work, scene: Scene, after: int) -> None:
    with work.engine.connect() as connection:
        store, go_on = foresee_outbox(connection, scene, after, _size(scene))
    if go_on is not None:
        work.add_job({"do": "sort", "after": go_on})
    work.on_record(store)


def _count_remote_deletes(connection: Connection, scene: Scene, upto: int) -> tuple[int, int]:
    after, going = 0, 0
    while ids := outbox.ids(connection, scene.pair, after, upto, 1000):
        after = ids[-1][0]
        local_ids = [entity[2:] for _, entity in ids if entity.startswith("l:")]
        rows = scene.table.read(connection, local_ids)
        known = links.by_local(connection, scene.pair, (i for i in local_ids if i not in rows), lock=False)
        going += sum(1 for link in known.values() if link.remote_id is not None and link.gone_at is None)
    return going, links.count(connection, scene.pair)["links"]
