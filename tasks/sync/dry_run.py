"""The steps of a dry run: as those of a run, but what is decided becomes entries of a plan, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from tasks.sync import links, outbox, plan_entries
from tasks.sync.decisions import Seen, decide
from tasks.sync.effects import Scene
from tasks.sync.links import Link
from tasks.sync.observe import Looked, Read, look
from tasks.sync.plan_entries import Entry, entry_of
from tasks.sync.pull import Listed

Planned = dict[str, int]


def foresee_page(connection: Connection, scene: Scene, listed: Listed, read: Read) -> Planned:
    """What a page would have written, stored; of a full listing, its records are marked as seen."""
    looked = look(connection, scene, read, read_at=listed.read_at)
    if listed.page.full:
        links.mark_seen(connection, (x.id for x in looked.known.values() if x.id is not None), scene.run_id)
    return _store(connection, scene, _entries_of_page(looked, read))


def foresee(connection: Connection, scene: Scene, read: Read, read_at: datetime) -> Planned:
    """What records that were read one by one would have written, stored."""
    return _store(connection, scene, _entries_of_page(look(connection, scene, read, read_at=read_at), read))


def foresee_rows(connection: Connection, scene: Scene, local_ids: Iterable[str]) -> Planned:
    """What a push of these rows would write, stored."""
    return _store(connection, scene, _entries_of_rows(connection, scene, local_ids))


def foresee_gone(connection: Connection, scene: Scene, some: Sequence[Link]) -> Planned:
    """What would become of rows whose records are known to be gone, stored: a run that the guard stopped has left them."""
    rows = scene.table.read(connection, (link.local_id or "" for link in some))
    read_at = links.now(connection)
    found = []
    for link in some:
        seen = Seen(link.remote_id or "", None)
        found.append(entry_of(decide(scene.kind, link, rows.get(link.local_id or ""), seen, read_at), seen))
    return _store(connection, scene, [entry for entry in found if entry is not None])


def foresee_outbox(
    connection: Connection, scene: Scene, after: int, limit: int
) -> tuple[Callable[[Connection], Planned], int | None]:
    """What stores what the outbox would push; where to go on, None: that was all."""
    upto = outbox.newest_id(connection, scene.pair)
    ids = outbox.ids(connection, scene.pair, after, upto, limit)
    found = _entries_of_rows(connection, scene, (entity[2:] for _, entity in ids if entity.startswith("l:")))
    return lambda c: _store(c, scene, found), (ids[-1][0] if len(ids) == limit else None)


def _store(connection: Connection, scene: Scene, entries: Sequence[Entry]) -> Planned:
    plan_entries.store(connection, scene.run_id, entries)
    return {"planned": len(entries)}


def _entries_of_page(looked: Looked, read: Read) -> list[Entry]:
    seen = {one.remote_id: one for one in read.seen}
    found = []
    for decision in looked.decisions:
        link = decision.link or decision.before
        remote_id = decision.before.remote_id if decision.before is not None else (link.remote_id if link else None)
        entry = entry_of(decision, seen.get(remote_id or ""))
        if entry is not None:
            found.append(entry)
    return found


def _entries_of_rows(connection: Connection, scene: Scene, local_ids: Iterable[str]) -> list[Entry]:
    wanted = sorted(set(local_ids))
    known = links.by_local(connection, scene.pair, wanted, lock=False)
    rows = scene.table.read(connection, wanted)
    read_at = links.now(connection)
    found = [
        entry_of(decide(scene.kind, known.get(local_id), rows.get(local_id), None, read_at), None)
        for local_id in wanted
    ]
    return [entry for entry in found if entry is not None]
