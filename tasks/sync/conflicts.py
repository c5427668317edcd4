"""Conflicts: fields that wait for a person, because both sides changed them and the policy is ``manual``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select, text

from tasks.sync import links
from tasks.sync.links import Pair
from tasks.sync.merge import Clash
from tasks.sync.tables import sync_conflicts
from tasks.sync.values import dump

_T = sync_conflicts.c
_PART = 500


class Open(NamedTuple):
    """A clash of one link."""

    link_id: int
    clash: Clash


def write(connection: Connection, pair: Pair, run_id: str | None, clashes: Sequence[Open]) -> None:
    """Queue them; one that is open already gets the values of now and keeps its base."""
    for link_id, clash in sorted(clashes, key=lambda c: (c.link_id, c.clash.field)):
        connection.exec_driver_sql(
            "INSERT INTO sync_conflicts (connection, kind, link_id, field, base, local, remote, open, run_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, 1, %s)"
            " ON DUPLICATE KEY UPDATE local = VALUES(local), remote = VALUES(remote)",
            (*pair, link_id, clash.field, dump(clash.base), dump(clash.local), dump(clash.remote), run_id),
        )


def close(connection: Connection, link_id: int, field: str, *, by: str, resolution: Any) -> int:
    """A field is settled; how many open conflicts that were (0 or 1)."""
    return connection.execute(
        text(
            "UPDATE sync_conflicts SET open = NULL, resolved_at = NOW(6), resolved_by = :by, resolution = :resolution"
            " WHERE link_id = :link_id AND field = :field AND open = 1"
        ),
        {"by": by, "resolution": dump(resolution), "link_id": link_id, "field": field},
    ).rowcount


def refresh(connection: Connection, conflict_id: int, local: Any) -> None:
    """The row's value is another one now; the conflict stays open."""
    connection.execute(
        text("UPDATE sync_conflicts SET local = :local WHERE id = :id AND open = 1"),
        {"local": dump(local), "id": conflict_id},
    )


def drop_links(connection: Connection, link_ids: Iterable[int]) -> None:
    """Forget these links; where there is no row and no record any more, nobody has to decide anything."""
    wanted = sorted(link_ids)
    links.drop(connection, wanted)
    for start in range(0, len(wanted), _PART):
        connection.execute(
            sync_conflicts.update()
            .where(_T.link_id.in_(wanted[start : start + _PART]), _T.open == 1)
            .values(open=None, resolved_at=text("NOW(6)"), resolved_by="sync", resolution=dump("both sides are gone"))
        )


def get(connection: Connection, conflict_id: int, *, lock: bool = False) -> Row[Any] | None:
    """One conflict."""
    query = select(sync_conflicts).where(_T.id == conflict_id)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def find(connection: Connection, pair: Pair | None = None, *, limit: int = 100, after: int = 0) -> Sequence[Row[Any]]:
    """The open ones, oldest first."""
    query = select(sync_conflicts).where(_T.open == 1, _T.id > after).order_by(_T.id).limit(limit)
    if pair is not None:
        query = query.where(_T.connection == pair.connection, _T.kind == pair.kind)
    return connection.execute(query).all()


def count(connection: Connection, pair: Pair) -> int:
    """How many are open."""
    where = (_T.connection == pair.connection, _T.kind == pair.kind, _T.open == 1)
    return int(connection.scalar(select(func.count()).select_from(sync_conflicts).where(*where)) or 0)
