"""The audit log: who did what to which run, letter or limit, why, and what it was before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from runstate import documents


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and why; both are needed for whatever changes something."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.reason.strip():
            raise ValueError("an operator action needs an actor and a reason, and neither may be empty")


def write(
    connection: Connection,
    actor: Actor,
    action: str,
    subject: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Write one entry, in the transaction of the action itself."""
    connection.execute(
        text(
            "INSERT INTO audit_log (at, actor, action, subject, reason, before_state, after_state)"
            " VALUES (NOW(6), :actor, :action, :subject, :reason, :before, :after)"
        ),
        {
            "actor": documents.capped(actor.name, 191),
            "action": action,
            "subject": subject,
            "reason": documents.capped(actor.reason),
            "before": documents.dump(before),
            "after": documents.dump(after),
        },
    )
