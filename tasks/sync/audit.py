"""The audit: every value that the sync wrote or let go, with what was there before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tasks.sync.links import Pair
from tasks.sync.values import dump

_PART = 300


class Change(NamedTuple):
    """One change on one ``side`` (local, remote); ``action``: create, update, delete, or lost (a policy decided against it)."""

    local_id: str | None
    remote_id: str | None
    side: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def write(connection: Connection, pair: Pair, run_id: str | None, changes: Sequence[Change]) -> None:
    """Note these changes, in the transaction that makes them."""
    for start in range(0, len(changes), _PART):
        part = changes[start : start + _PART]
        connection.exec_driver_sql(
            "INSERT INTO sync_audit (connection, kind, run_id, local_id, remote_id, side, action, before_state, after_state)"
            f" VALUES {', '.join(['(%s, %s, %s, %s, %s, %s, %s, %s, %s)'] * len(part))}",
            tuple(
                value
                for c in part
                for value in (
                    *pair,
                    run_id,
                    c.local_id,
                    c.remote_id,
                    c.side,
                    c.action,
                    None if c.before is None else dump(dict(c.before)),
                    None if c.after is None else dump(dict(c.after)),
                )
            ),
        )
