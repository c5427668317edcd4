"""The report of a campaign: what was sent, what failed and why, what is in doubt, how fast, and how long it will take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from tasks.email import ledger

OPEN = ("pending", "claimed", "sending", "deferred")
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def campaign_report(connection: Connection, campaign: str, *, rates: Sequence[str] = ()) -> dict[str, Any]:
    """A document of the campaign's ledger; ``rates`` are the run's limits, for the time that the rest takes under them."""
    states = ledger.counts(connection, campaign)
    total = sum(states.values())
    left = sum(states[state] for state in OPEN)
    return {
        "campaign": campaign,
        "recipients": total,
        "states": states,
        "left": left,
        "eta_s": eta_s(left, rates),
        "failed_by_code": _failed_by_code(connection, campaign),
        "failed_by_domain": _failed_by_domain(connection, campaign),
        "events": _events(connection, campaign),
        "sent_per_minute": _per_minute(connection, campaign),
    }


def eta_s(left: int, rates: Sequence[str]) -> float | None:
    """How long ``left`` messages take under the strictest of ``rates``, in seconds; None where there is no limit.

    The campaign alone: others on the same provider take their share.
    """
    found = [match for match in (_RATE.match(rate) for rate in rates) if match]
    if not found:
        return None
    return max(left / int(m[1]) * int(m[2] or 1) * _SECONDS[m[3]] for m in found)


def _failed_by_code(connection: Connection, campaign: str) -> list[dict[str, Any]]:
    found = connection.execute(
        text(
            "SELECT state, code, enhanced, COUNT(*) AS n, MAX(COALESCE(response, reason)) AS example FROM email_recipients"
            " WHERE campaign = :campaign AND state IN ('failed', 'deferred')"
            " GROUP BY state, code, enhanced ORDER BY n DESC LIMIT 50"
        ),
        {"campaign": campaign},
    )
    return [dict(row) for row in found.mappings()]


def _failed_by_domain(connection: Connection, campaign: str) -> list[dict[str, Any]]:
    found = connection.execute(
        text(
            "SELECT SUBSTRING_INDEX(identity, '@', -1) AS domain, SUM(state = 'failed') AS failed,"
            " SUM(state = 'deferred') AS deferred, SUM(state = 'in_doubt') AS in_doubt FROM email_recipients"
            " WHERE campaign = :campaign AND state IN ('failed', 'deferred', 'in_doubt')"
            " GROUP BY domain ORDER BY failed DESC, deferred DESC LIMIT 50"
        ),
        {"campaign": campaign},
    )
    return [
        {name: int(value) if name != "domain" else value for name, value in row.items()} for row in found.mappings()
    ]


def _events(connection: Connection, campaign: str) -> dict[str, int]:
    found = connection.execute(
        text(
            "SELECT event, COUNT(*) AS n FROM email_recipients WHERE campaign = :campaign AND state = 'sent'"
            " AND event IS NOT NULL GROUP BY event"
        ),
        {"campaign": campaign},
    )
    return {row.event: row.n for row in found}


def _per_minute(connection: Connection, campaign: str) -> list[dict[str, Any]]:
    """The last hour that anything was sent in."""
    found = connection.execute(
        text(
            "SELECT DATE_FORMAT(sent_at, '%Y-%m-%d %H:%i') AS minute, COUNT(*) AS sent FROM email_recipients"
            " WHERE campaign = :campaign AND state = 'sent' AND sent_at IS NOT NULL"
            " GROUP BY minute ORDER BY minute DESC LIMIT 60"
        ),
        {"campaign": campaign},
    )
    return [dict(row) for row in found.mappings()][::-1]
