"""Cursors: where a listing of the API's changes goes on; moved in the transaction of the page that they are behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from tasks.sync.links import Pair
from tasks.sync.values import dump, load


@dataclass(frozen=True, slots=True)
class Cursor:
    """``position``: the connector's resume cursor; ``full_age_s``: how long ago everything was listed last, None: never."""

    position: Any = None
    full_age_s: float | None = None


def read(connection: Connection, pair: Pair) -> Cursor:
    """Where the next listing begins."""
    row = connection.execute(
        text(
            "SELECT position, TIMESTAMPDIFF(SECOND, full_at, NOW(6)) AS full_age FROM sync_cursors"
            " WHERE connection = :connection AND kind = :kind"
        ),
        pair._asdict(),
    ).one_or_none()
    if row is None:
        return Cursor()
    return Cursor(load(row.position), None if row.full_age is None else float(row.full_age))


def move(connection: Connection, pair: Pair, position: Any, run_id: str, *, listed_all: bool = False) -> None:
    """Keep where to go on; ``listed_all``: a full listing has come to its end."""
    connection.execute(
        text(
            "INSERT INTO sync_cursors (connection, kind, position, run_id, moved_at, full_at)"
            " VALUES (:connection, :kind, :position, :run_id, NOW(6), IF(:listed_all, NOW(6), NULL))"
            " ON DUPLICATE KEY UPDATE position = VALUES(position), run_id = VALUES(run_id), moved_at = NOW(6),"
            " full_at = COALESCE(VALUES(full_at), full_at)"
        ),
        {**pair._asdict(), "position": dump(position), "run_id": run_id, "listed_all": listed_all},
    )


def forget(connection: Connection, pair: Pair) -> None:
    """The API does not know the cursor any more: begin again, in full."""
    connection.execute(
        text("UPDATE sync_cursors SET position = NULL WHERE connection = :connection AND kind = :kind"),
        pair._asdict(),
    )
