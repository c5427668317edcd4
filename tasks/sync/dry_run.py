"""The steps of a dry run: as those of a run, but what is decided becomes entries of a plan, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from tasks.sync import links, outbox
from tasks.sync.decisions import decide
from tasks.sync.effects import Scene
from tasks.sync.observe import Looked, Read
from tasks.sync.plan_entries import Entry, entry_of


def entries_of_page(looked: Looked, read: Read) -> list[Entry]:
    """What a page would have written."""
    seen = {one.remote_id: one for one in read.seen}
    found = []
    for decision in looked.decisions:
        link = decision.link or decision.before
        remote_id = decision.before.remote_id if decision.before is not None else (link.remote_id if link else None)
        entry = entry_of(decision, seen.get(remote_id or ""))
        if entry is not None:
            found.append(entry)
    return found


def entries_of_rows(connection: Connection, scene: Scene, local_ids: Iterable[str]) -> list[Entry]:
    """What a push of these rows would write."""
    wanted = sorted(set(local_ids))
    known = links.by_local(connection, scene.pair, wanted, lock=False)
    rows = scene.table.read(connection, wanted)
    read_at = links.now(connection)
    found = [
        entry_of(decide(scene.kind, known.get(local_id), rows.get(local_id), None, read_at), None)
        for local_id in wanted
    ]
    return [entry for entry in found if entry is not None]


def entries_of_outbox(
    connection: Connection, scene: Scene, after: int, limit: int
) -> tuple[Sequence[Entry], int | None]:
    """What the outbox would push; where to go on, None: that was all."""
    upto = outbox.newest_id(connection, scene.pair)
    ids = outbox.ids(connection, scene.pair, after, upto, limit)
    found = entries_of_rows(connection, scene, (entity[2:] for _, entity in ids if entity.startswith("l:")))
    return found, (ids[-1][0] if len(ids) == limit else None)
