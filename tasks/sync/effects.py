"""What was decided, written: the table's rows, the links, conflicts and audit, in the transaction of whoever decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from tasks.sync import audit, conflicts, links, outbox, rejects
from tasks.sync.audit import Change
from tasks.sync.connections import SyncKind
from tasks.sync.connector import Connector
from tasks.sync.decisions import Decision, Do
from tasks.sync.errors import Unfit
from tasks.sync.links import Link, Pair
from tasks.sync.local import LocalTable
from tasks.sync.merge import Side
from tasks.sync.rejects import Reject


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is kept the same with what, on behalf of which run."""

    pair: Pair
    kind: SyncKind
    table: LocalTable
    connector: Connector
    run_id: str


def apply(
    connection: Connection, scene: Scene, decisions: Sequence[Decision], *, listed_by: str | None = None
) -> Counter[str]:
    """Write the table's side of these decisions, whose links and rows this transaction holds; how many were what.

    A row that the server refuses is a reject: its link stays as it was, so that it is tried again when the record changes.
    """
    refusals: dict[int, Unfit] = {}
    new_ids = _create_rows(connection, scene, decisions, refusals)
    _update_rows(connection, scene, decisions, refusals)
    done = [(place, d) for place, d in enumerate(decisions) if place not in refusals]
    stored = [
        replace(d.link, local_id=new_ids.get(place, d.link.local_id))
        for place, d in done
        if d.link is not None and (d.link != d.before or place in new_ids)
    ]
    links.save(connection, scene.pair, stored, seen_run=listed_by)
    conflicts.drop_links(
        connection, (d.before.id for _, d in done if d.forget and d.before and d.before.id is not None)
    )
    audit.write(
        connection,
        scene.pair,
        scene.run_id,
        [change for place, d in done for change in _changes(d, new_ids.get(place))],
    )
    _note_clashes(connection, scene, [d for _, d in done])
    _note_refusals(connection, scene, [(decisions[place], why) for place, why in refusals.items()])
    return Counter(
        created=sum(1 for _, d in done if d.local is Do.CREATE),
        updated=sum(1 for _, d in done if d.local is Do.UPDATE),
        conflicts=sum(len(d.clashes) for _, d in done),
        overruled=sum(len(d.losses) for _, d in done),
        rejected=len(refusals),
    )


def _create_rows(
    connection: Connection, scene: Scene, decisions: Sequence[Decision], refusals: dict[int, Unfit]
) -> dict[int, str]:
    places = [place for place, d in enumerate(decisions) if d.local is Do.CREATE]
    # A row that was deleted and comes back keeps its id; the others get new ones.
    wanted = [(decisions[p].local_values, d.local_id if (d := decisions[p].link) else None) for p in places]
    new_ids: dict[int, str] = {}
    for again in (False, True):
        some = [place for place, (_, row_id) in zip(places, wanted, strict=True) if (row_id is not None) is again]
        rows = [row for row in wanted if (row[1] is not None) is again]
        for place, end in zip(some, scene.table.insert(connection, rows), strict=True):
            if isinstance(end, Unfit):
                refusals[place] = end
            else:
                new_ids[place] = end
    return new_ids


def _update_rows(
    connection: Connection, scene: Scene, decisions: Sequence[Decision], refusals: dict[int, Unfit]
) -> None:
    place_of = {d.row.id: place for place, d in enumerate(decisions) if d.local is Do.UPDATE and d.row is not None}
    changes = {row_id: decisions[place].local_values for row_id, place in place_of.items()}
    for row_id, end in scene.table.update(connection, changes).items():
        refusals[place_of[row_id]] = end


def _changes(decision: Decision, new_id: str | None) -> list[Change]:
    link = decision.link or decision.before
    if link is None:
        return []
    local_id, remote_id = new_id or link.local_id, link.remote_id
    changes = [
        Change(
            local_id,
            remote_id,
            loss.loser.value,
            "lost",
            {loss.field: loss.lost},
            {loss.field: loss.kept},
        )
        for loss in decision.losses
    ]
    if decision.local is Do.CREATE:
        changes.append(Change(local_id, remote_id, Side.LOCAL.value, "create", None, decision.local_values))
    elif decision.local is Do.UPDATE and decision.row is not None:
        before = {name: decision.row.values[name] for name in decision.local_values}
        changes.append(Change(local_id, remote_id, Side.LOCAL.value, "update", before, decision.local_values))
    return changes


def _note_clashes(connection: Connection, scene: Scene, decisions: Sequence[Decision]) -> None:
    """Queue what a person must decide, and close what both sides have come to agree on by themselves."""
    waiting = set(scene.kind.columns)
    clashing = [d for d in decisions if d.clashes and d.link is not None]
    if clashing:
        ids = _stored_ids(connection, scene.pair, [d.link for d in clashing if d.link is not None])
        conflicts.write(
            connection,
            scene.pair,
            scene.run_id,
            [
                conflicts.Open(ids[d.link.remote_id or ""], clash)
                for d in clashing
                if d.link is not None
                for clash in d.clashes
            ],
        )
    for d in decisions:
        if d.before is None or d.before.id is None or d.link is None or d.before.remote_id is None:
            continue
        for name in (waiting - set(d.before.base.remote)) & set(d.link.base.remote):
            conflicts.close(connection, d.before.id, name, by="sync", resolution="both sides agree")


def _stored_ids(connection: Connection, pair: Pair, wanted: Sequence[Link]) -> dict[str, int]:
    found = links.by_remote(connection, pair, (link.remote_id for link in wanted if link.remote_id), lock=False)
    return {remote_id: link.id for remote_id, link in found.items() if link.id is not None}


def _note_refusals(connection: Connection, scene: Scene, refused: Sequence[tuple[Decision, Unfit]]) -> None:
    rejects.store(
        connection,
        scene.pair,
        scene.run_id,
        [
            Reject(f"r:{d.link.remote_id}", "pull", why.code, str(why), d.local_values)
            for d, why in refused
            if d.link is not None
        ],
    )


def note_pushes(connection: Connection, scene: Scene, decisions: Sequence[Decision]) -> None:
    """What a push has to do: the rows whose record is behind go into the outbox."""
    entities = []
    for d in decisions:
        if d.remote in (Do.CREATE, Do.UPDATE) and d.row is not None:
            entities.append(f"l:{d.row.id}")
        elif d.remote is Do.DELETE and d.link is not None:
            entities.append(f"l:{d.link.local_id}")
    outbox.add(connection, scene.pair, entities)
