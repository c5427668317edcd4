"""A conflict, resolved by a person: the field goes on as if both sides had last agreed on the API's value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import Connection

from tasks.sync import audit, conflicts, links, outbox
from tasks.sync.audit import Change
from tasks.sync.errors import NotResolvable, Unfit
from tasks.sync.local import LocalTable
from tasks.sync.merge import Base
from tasks.sync.values import load

Choice = Literal["local", "remote", "value"]


def resolve(
    connection: Connection, table: LocalTable, conflict_id: int, choice: Choice, *, value: Any = None, by: str
) -> dict[str, Any]:
    """Settle one open conflict; what was kept.

    ``local`` and ``value`` are pushed by the next run, unless the record has moved again: then it is a conflict again.
    Raises `NotResolvable`.  Order of the locks: link, row, conflict, outbox.
    """
    asked = conflicts.get(connection, conflict_id)
    if asked is None:
        raise NotResolvable(f"there is no conflict {conflict_id}")
    found = links.by_id(connection, asked.link_id)
    if found is None or found[1].local_id is None:
        raise NotResolvable(f"conflict {conflict_id}: its row and record are not linked any more")
    pair, link = found
    assert link.local_id is not None
    row = table.read(connection, [link.local_id], lock=True).get(link.local_id)
    held = conflicts.get(connection, conflict_id, lock=True)
    if row is None or held is None or held.open != 1:
        raise NotResolvable(f"conflict {conflict_id} is not open any more, or its row is gone")
    name, remote = held.field, load(held.remote)
    kept = {"local": row.values[name], "remote": remote, "value": value}[choice]
    if choice == "value":
        try:
            kept = table.fit_some({name: value})[name]
        except Unfit as error:
            raise NotResolvable(str(error)) from error
    if kept != row.values[name]:
        refused = table.update(connection, {row.id: {name: kept}})
        if refused:
            raise NotResolvable(f"the table refuses it: {refused[row.id]}")
    before = {name: row.values[name]}
    base = Base({**link.base.local, name: remote}, {**link.base.remote, name: remote})
    assert link.read_at is not None
    agreed = link.agreed(base, version=link.version, read_at=link.read_at)
    links.save(connection, pair, [replace(agreed, gone_at=link.gone_at)])
    audit.write(
        connection, pair, None, [Change(row.id, link.remote_id, "local", "resolve", before | {"by": by}, {name: kept})]
    )
    conflicts.close(connection, link.id or 0, name, by=by, resolution={"choice": choice, "kept": kept})
    if kept != remote:
        outbox.add(connection, pair, [f"l:{row.id}"])
    return {"connection": pair.connection, "kind": pair.kind, "field": name, "before": before[name], "kept": kept}
