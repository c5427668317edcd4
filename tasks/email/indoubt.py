"""What may have been sent: listed, and resolved by people, as sent or to be sent again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, text

from tasks.email.addresses import identity_of

AS: Final = ("sent", "resend")


def list_in_doubt(
    connection: Connection, campaign: str | None = None, *, limit: int = 1000
) -> Iterator[dict[str, Any]]:
    """The recipients in doubt, oldest first; of one campaign or of all."""
    where = "state = 'in_doubt'" + (" AND campaign = :campaign" if campaign is not None else "")
    found = connection.execute(
        text(
            "SELECT campaign, address, line, message_id, attempts, sending_at, reason, response FROM email_recipients"
            f" WHERE {where} ORDER BY sending_at, id LIMIT :limit"
        ),
        {"campaign": campaign, "limit": limit},
    )
    for row in found.mappings():
        yield dict(row)


def resolve(
    connection: Connection, campaign: str, *, resolved_as: str, addresses: Sequence[str] | None = None, by: str
) -> list[str]:
    """in_doubt → sent, or → pending, to be taken by the next run; the addresses that were, in the order of the ledger.

    ``addresses``  which ones; None: all that are in doubt.  One that is not in doubt (any more) is left as it is.
    ``by``         who says so; the audit entry is the caller's, in the same transaction
    """
    if resolved_as not in AS:
        raise ValueError(f"resolved_as={resolved_as!r}: give one of {', '.join(AS)}")
    only = "" if addresses is None else " AND identity IN :identities"
    values: dict[str, Any] = {"campaign": campaign}
    select = text(
        f"SELECT id, address FROM email_recipients WHERE campaign = :campaign AND state = 'in_doubt'{only}"
        " ORDER BY id FOR UPDATE"
    )
    if addresses is not None:
        if not addresses:
            return []
        select = select.bindparams(bindparam("identities", expanding=True))
        values["identities"] = [identity_of(address.strip()) for address in addresses]
    rows = connection.execute(select, values).all()
    sets = {
        "sent": "state = 'sent', sent_at = COALESCE(sent_at, sending_at), claim = NULL",
        # No claim: an answer that comes late must not overrule the operator.
        "resend": "state = 'pending', plan = 'resend', batch = 0, attempts = 0, due_at = NULL, claim = NULL",
    }[resolved_as]
    for row in rows:
        connection.execute(
            text(f"UPDATE email_recipients SET {sets}, reason = :reason, changed_at = NOW(6) WHERE id = :id"),
            {"id": row.id, "reason": f"was in doubt; resolved as {resolved_as} by {by}"[:500]},
        )
    return [row.address for row in rows]


def count_by_campaign(connection: Connection) -> Mapping[str, int]:
    """How many are in doubt in which campaign."""
    found = connection.execute(
        text("SELECT campaign, COUNT(*) AS n FROM email_recipients WHERE state = 'in_doubt' GROUP BY campaign")
    )
    return {row.campaign: row.n for row in found}
