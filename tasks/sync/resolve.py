"""A conflict, resolved by a person: the field goes on as if both sides had last agreed on the API's value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import Connection

from tasks.sync import audit, conflicts, links, outbox
from tasks.sync.audit import Change
from tasks.sync.errors import NoConflict, NotResolvable, RowMoved, Unfit
from tasks.sync.local import LocalTable
from tasks.sync.merge import Base
from tasks.sync.values import load

Choice = Literal["local", "remote", "value"]


def resolve(
    connection: Connection, table: LocalTable, conflict_id: int, choice: Choice, *, value: Any = None, by: str
) -> dict[str, Any]:
    """Settle one open conflict; what was kept.

    ``local`` and ``value`` are pushed by the next run, unless the record has moved again: then it is a conflict again.
    ``remote`` and ``value`` overwrite the row only while it has the value that was shown.
    Raises `NotResolvable`.  Order of the locks: link, row, conflict, outbox.
    """
    asked = conflicts.get(connection, conflict_id)
    if asked is None:
        raise NoConflict(f"there is no conflict {conflict_id}")
    found = links.by_id(connection, asked.link_id)
    if found is None or found[1].local_id is None:
        raise NotResolvable(f"conflict {conflict_id}: its row and record are not linked any more")
    pair, link = found
    assert link.local_id is not None
    row = table.read(connection, [link.local_id], lock=True).get(link.local_id)
    held = conflicts.get(connection, conflict_id, lock=True)
    if held is None or held.open != 1:
        by_whom = "" if held is None else f" by {held.resolved_by}: {held.resolution}"
        raise NotResolvable(f"conflict {conflict_id} was resolved already{by_whom}")
    if row is None:
        raise NotResolvable(f"conflict {conflict_id}: its row is gone; the next run decides about the record")
    name, remote, current = held.field, load(held.remote), row.values[held.field]
    if choice != "local" and current != load(held.local):
        raise RowMoved(
            f"conflict {conflict_id}: {name} of row {row.id} is {current!r} now, not {load(held.local)!r}; look again",
            value=current,
        )
    kept = {"local": current, "remote": remote, "value": value}[choice]
    if choice == "value":
        try:
            kept = table.fit_some({name: value})[name]
        except Unfit as error:
            raise NotResolvable(str(error)) from error
    if kept != current:
        refused = table.update(connection, {row.id: {name: kept}})
        if refused:
            raise NotResolvable(f"the table refuses it: {refused[row.id]}")
    base = Base({**link.base.local, name: remote}, {**link.base.remote, name: remote})
    assert link.read_at is not None
    agreed = link.agreed(base, version=link.version, read_at=link.read_at)
    links.save(connection, pair, [replace(agreed, gone_at=link.gone_at)])
    audit.write(connection, pair, None, _changes(row.id, link.remote_id, name, current, remote, kept))
    conflicts.close(connection, link.id or 0, name, by=by, resolution={"choice": choice, "kept": kept})
    if kept != remote:
        outbox.add(connection, pair, [f"l:{row.id}"])
    return {"connection": pair.connection, "kind": pair.kind, "field": name, "before": current, "kept": kept}


def _changes(local_id: str, remote_id: str | None, name: str, local: Any, remote: Any, kept: Any) -> list[Change]:
    """What was decided, and each side's value that lost."""
    lost = [
        Change(local_id, remote_id, side, "lost", {name: value}, {name: kept})
        for side, value in (("local", local), ("remote", remote))
        if value != kept
    ]
    return [*lost, Change(local_id, remote_id, "local", "resolve", {name: local}, {name: kept})]
