"""Nodes: which worker and dispatcher processes live, on which queues, seen when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

HEARTBEAT_S = 1.0
"""How often a node says that it lives; well under half of the shortest lease (3 s), see `runstate.reap`."""


@dataclass(frozen=True, slots=True)
class Node:
    """One process that beats: ``boot`` changes with every start under the same name."""

    name: str
    boot: str
    role: str
    queues: tuple[str, ...]
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    age_s: float


def beat(
    connection: Connection, *, name: str, boot: str, role: str, queues: Sequence[str], host: str, pid: int
) -> None:
    """Say that this node lives."""
    connection.execute(
        text(
            "INSERT INTO nodes (name, boot, role, queues, host, pid, started_at, heartbeat_at)"
            " VALUES (:name, :boot, :role, :queues, :host, :pid, NOW(6), NOW(6))"
            " ON DUPLICATE KEY UPDATE started_at = IF(boot = VALUES(boot), started_at, VALUES(started_at)),"
            " boot = VALUES(boot), role = VALUES(role), queues = VALUES(queues), host = VALUES(host), pid = VALUES(pid),"
            " heartbeat_at = VALUES(heartbeat_at)"
        ),
        {"name": name, "boot": boot, "role": role, "queues": ",".join(queues), "host": host, "pid": pid},
    )


def forget(connection: Connection, name: str, boot: str) -> None:
    """A node that stops in good order takes its row away."""
    connection.execute(text("DELETE FROM nodes WHERE name = :name AND boot = :boot"), {"name": name, "boot": boot})


def forget_lost(connection: Connection, *, after_s: int = 86_400) -> int:
    """Take away the rows of nodes that have not beaten for ``after_s``: they were killed and will not say good-bye."""
    return connection.execute(
        text("DELETE FROM nodes WHERE heartbeat_at < NOW(6) - INTERVAL :after_s SECOND"), {"after_s": after_s}
    ).rowcount


def all_nodes(connection: Connection) -> list[Node]:
    """Every node that has not said good-bye, with the age of its last heartbeat in seconds."""
    rows = connection.execute(
        text(
            "SELECT name, boot, role, queues, host, pid, started_at, heartbeat_at,"
            " TIMESTAMPDIFF(MICROSECOND, heartbeat_at, NOW(6)) / 1e6 AS age_s FROM nodes ORDER BY role, name"
        )
    ).mappings()
    return [
        Node(**{**row, "queues": tuple(q for q in row["queues"].split(",") if q), "age_s": float(row["age_s"])})
        for row in rows
    ]
