"""Rejects: single rows and records that cannot be kept the same, each with its reason, while the others flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, func, select

from tasks.sync import outbox
from tasks.sync.links import Pair
from tasks.sync.tables import sync_rejects
from tasks.sync.values import dump

_T = sync_rejects.c
MAX_REASON_CHARS = 2000


class Reject(NamedTuple):
    """``entity``: as in the outbox; ``direction``: on which way it was stopped; ``record``: the values as they came."""

    entity: str
    direction: Literal["pull", "push"]
    code: str
    reason: str
    record: Mapping[str, Any] | None


def store(connection: Connection, pair: Pair, run_id: str, rejects: Sequence[Reject]) -> None:
    """Keep them, the latest of each entity and direction."""
    for reject in sorted(rejects, key=lambda r: (r.entity, r.direction)):
        connection.exec_driver_sql(
            "INSERT INTO sync_rejects (connection, kind, entity, direction, code, reason, record, run_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE code = VALUES(code), reason = VALUES(reason),"
            " record = VALUES(record), run_id = VALUES(run_id), created_at = NOW(6)",
            (
                *pair,
                reject.entity,
                reject.direction,
                reject.code,
                reject.reason[:MAX_REASON_CHARS],
                None if reject.record is None else dump(dict(reject.record)),
                run_id,
            ),
        )


def clear(connection: Connection, pair: Pair, entities: Iterable[str]) -> None:
    """These are the same on both sides again."""
    wanted = sorted(set(entities))
    for start in range(0, len(wanted), 500):
        connection.execute(
            sync_rejects.delete().where(
                _T.connection == pair.connection, _T.kind == pair.kind, _T.entity.in_(wanted[start : start + 500])
            )
        )


def take_all(connection: Connection, pair: Pair) -> int:
    """Put every reject into the outbox and forget it; if its cause is still there, the next run rejects it again.

    What is no record cannot be asked for: the next listing that shows it notes it anew.
    """
    where = (_T.connection == pair.connection, _T.kind == pair.kind)
    found = connection.execute(
        select(_T.id, _T.entity, _T.code).where(*where).order_by(_T.entity).with_for_update()
    ).all()
    outbox.add(connection, pair, [row.entity for row in found if row.code != "no_record"])
    connection.execute(sync_rejects.delete().where(_T.id.in_([row.id for row in found])))
    return len(found)


def count(connection: Connection, pair: Pair) -> int:
    """How many there are."""
    where = (_T.connection == pair.connection, _T.kind == pair.kind)
    return int(connection.scalar(select(func.count()).select_from(sync_rejects).where(*where)) or 0)


def find(connection: Connection, pair: Pair | None = None, limit: int = 100) -> Sequence[Row[Any]]:
    """The rejects, newest first."""
    query = select(sync_rejects).order_by(_T.id.desc()).limit(limit)
    if pair is not None:
        query = query.where(_T.connection == pair.connection, _T.kind == pair.kind)
    return connection.execute(query).all()
