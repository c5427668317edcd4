"""The audit: every value that the sync wrote or let go, with what was there before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from tasks.sync.links import Pair
from tasks.sync.statements import literals, write_rows
from tasks.sync.values import dump


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
    literal = literals(connection)
    same = f"({literal(pair.connection)}, {literal(pair.kind)}, {literal(run_id)}"

    def row(c: Change) -> str:
        before = None if c.before is None else dump(dict(c.before))
        after = None if c.after is None else dump(dict(c.after))
        return (
            f"{same}, {literal(c.local_id)}, {literal(c.remote_id)}, {literal(c.side)}, {literal(c.action)},"
            f" {literal(before)}, {literal(after)})"
        )

    write_rows(
        connection,
        "INSERT INTO sync_audit (connection, kind, run_id, local_id, remote_id, side, action, before_state, after_state) VALUES ",
        map(row, changes),
    )
