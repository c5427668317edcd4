"""The suppression list: addresses that are not sent to, everywhere or within a scope, for good or for a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, text

from tasks.email.addresses import identity_of, parse_address

GLOBAL: Final = "global"
REASONS: Final = ("bounce", "complaint", "unsubscribe", "manual")
_SCOPE = re.compile(r"global\Z|(?:provider|list|campaign):\S.{0,99}\Z")

_LIVE = "(expires_at IS NULL OR expires_at > NOW(6))"
SUPPRESSED: Final = (
    "SELECT 1 FROM email_suppressions s WHERE s.address = {identity}"
    f" AND s.scope IN (:scope0, :scope1, :scope2, :scope3) AND {_LIVE}"
)
"""A condition for other statements; the scopes are parameters."""


def scopes_of(*, campaign: str, provider: str, list_scope: str | None = None) -> list[str]:
    """The scopes that hold for a campaign's recipients."""
    scopes = [GLOBAL, f"provider:{provider}", f"campaign:{campaign}"]
    return scopes if list_scope is None or list_scope in scopes else [*scopes, list_scope]


def checked_scope(scope: str) -> str:
    """The scope; raises ValueError for one that is none."""
    if not _SCOPE.match(scope):
        raise ValueError(f"scope={scope!r}: give global, provider:NAME, list:NAME or campaign:NAME")
    return scope


def suppress(
    connection: Connection,
    address: str,
    *,
    reason: str,
    scope: str = GLOBAL,
    detail: str | None = None,
    for_s: float | None = None,
) -> None:
    """Put an address on the list; again: the later expiry wins, and the newer reason.

    ``for_s``  seconds until it may be sent to again; None: for good

    Raises `tasks.email.errors.BadAddress`, ValueError for a scope or reason that is none.
    """
    if reason not in REASONS:
        raise ValueError(f"reason={reason!r}: give one of {', '.join(REASONS)}")
    connection.execute(
        text(
            "INSERT INTO email_suppressions (address, scope, reason, detail, created_at, expires_at)"
            " VALUES (:address, :scope, :reason, :detail, NOW(6), NOW(6) + INTERVAL :us MICROSECOND)"
            " ON DUPLICATE KEY UPDATE reason = VALUES(reason), detail = VALUES(detail), expires_at ="
            # For good stays for good.
            " IF(expires_at IS NULL OR VALUES(expires_at) IS NULL, NULL, GREATEST(expires_at, VALUES(expires_at)))"
        ),
        {
            "address": folded(address),
            "scope": checked_scope(scope),
            "reason": reason,
            "detail": detail[:500] if detail else None,
            "us": None if for_s is None else int(for_s * 1_000_000),
        },
    )


def unsuppress(connection: Connection, address: str, *, scope: str = GLOBAL) -> bool:
    """Take an address off the list; whether it stood there."""
    return (
        connection.execute(
            text("DELETE FROM email_suppressions WHERE address = :address AND scope = :scope"),
            {"address": folded(address), "scope": checked_scope(scope)},
        ).rowcount
        == 1
    )


def find_suppressed(connection: Connection, identities: Sequence[str], scopes: Sequence[str]) -> dict[str, str]:
    """Which of ``identities`` are suppressed in any of ``scopes``, and why: ``bounce (global)``."""
    if not identities:
        return {}
    found = connection.execute(
        text(
            "SELECT address, scope, reason FROM email_suppressions"
            f" WHERE address IN :identities AND scope IN :scopes AND {_LIVE} ORDER BY id DESC"
        ).bindparams(bindparam("identities", expanding=True), bindparam("scopes", expanding=True)),
        {"identities": list(identities), "scopes": list(scopes)},
    )
    return {row.address: f"{row.reason} ({row.scope})" for row in found}


def list_suppressions(
    connection: Connection, *, address: str | None = None, scope: str | None = None, limit: int = 1000
) -> Iterator[Mapping[str, Any]]:
    """The list, newest first; expired ones too."""
    where = ["1 = 1"]
    if address is not None:
        where.append("address = :address")
    if scope is not None:
        where.append("scope = :scope")
    found = connection.execute(
        text(
            "SELECT address, scope, reason, detail, created_at, expires_at FROM email_suppressions"
            f" WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"
        ),
        {"address": folded(address) if address else None, "scope": scope, "limit": limit},
    )
    for row in found.mappings():
        yield dict(row)


def folded(address: str) -> str:
    """The form that addresses are compared in.  Raises `tasks.email.errors.BadAddress`."""
    return parse_address(address).identity if "@" in address else identity_of(address)
