"""The ledger: what became of each recipient of a campaign.  Every step is a conditional statement, its row count checked.

``pending``     planned, nobody's
``claimed``     in a job's hands; nothing was said to a server that could deliver it
``sending``     committed before DATA: from here on it may have been taken
``sent``        the server took it
``deferred``    refused for now; due again at ``due_at``
``failed``      refused for good, attempts exhausted, no address, or no message could be made
``suppressed``  on the suppression list
``in_doubt``    it may have been taken, and nobody will ever know
``cancelled``   the run was cancelled before its turn
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, TextClause, bindparam, text

from tasks.email.errors import EmailError
from tasks.email.suppressions import SUPPRESSED


class State(StrEnum):
    """Where a recipient stands; see the module."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    IN_DOUBT = "in_doubt"
    CANCELLED = "cancelled"


class PlanLost(EmailError):
    """Another planning of the campaign has begun; this one may write no more."""


class Planned(NamedTuple):
    """One recipient as it is planned."""

    address: str
    identity: str
    line: int
    variables: str
    state: State = State.PENDING
    reason: str | None = None


class Row(NamedTuple):
    """One recipient in a job's hands."""

    id: int
    address: str
    identity: str
    variables: dict[str, Any]
    attempts: int
    enhanced: str | None = None
    """The enhanced code of the answer it got last."""
    code: int | None = None
    """The code of that answer."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one try at a recipient ended.

    ``attempts``  how many it has had with this one
    ``due_in_s``  for ``deferred``: in how many seconds it is due again
    """

    id: int
    state: State
    attempts: int
    code: int | None = None
    enhanced: str | None = None
    response: str | None = None
    queue_id: str | None = None
    reason: str | None = None
    due_in_s: float | None = None


LOST_WORKER: Final = "the worker was lost after the message was on its way; the server may have taken it"

# A second run of a campaign takes what was not sent.  What may have been sent it takes only where that is the policy.
_UNSENT = "'pending', 'claimed', 'deferred', 'failed', 'suppressed', 'cancelled'"
_MINE = f"email_recipients.plan <> VALUES(plan) AND (state IN ({_UNSENT}) OR (state = 'in_doubt' AND :resend))"

_OPEN = text(
    "INSERT INTO email_campaigns (name, plan, run_id, provider, planned_at) VALUES (:name, :plan, :run_id, :provider, NOW(6))"
    " ON DUPLICATE KEY UPDATE plan = VALUES(plan), run_id = VALUES(run_id), provider = VALUES(provider), planned_at = NOW(6)"
)
_HOLD_PLAN = text("SELECT 1 FROM email_campaigns WHERE name = :name AND plan = :plan FOR UPDATE")
_INSERT_HEAD = (
    "INSERT INTO email_recipients (campaign, address, identity, state, plan, batch, line, variables, provider, reason,"
    " planned_at, changed_at) VALUES "
)


def open_plan(connection: Connection, campaign: str, *, plan: str, run_id: str, provider: str) -> None:
    """Make ``plan`` the campaign's planning; what an earlier run left in the middle of sending is in doubt from here on."""
    connection.execute(_OPEN, {"name": campaign, "plan": plan, "run_id": run_id, "provider": provider})
    connection.execute(
        text(
            "UPDATE email_recipients SET state = 'in_doubt', reason = :reason, changed_at = NOW(6)"
            " WHERE campaign = :campaign AND state = 'sending'"
        ),
        {"campaign": campaign, "reason": LOST_WORKER},
    )


def write_planned(
    connection: Connection,
    campaign: str,
    rows: Sequence[tuple[int, Planned]],
    *,
    plan: str,
    provider: str,
    resend: bool,
) -> dict[int, int]:
    """Write recipients, each with its batch; how many of each batch are to be sent to.

    An address that stands in this planning already keeps its first place; one that an earlier run has sent to, or left in
    doubt, stays as it is; any other is taken over.  Raises `PlanLost`.
    """
    if connection.execute(_HOLD_PLAN, {"name": campaign, "plan": plan}).one_or_none() is None:
        raise PlanLost(f"campaign {campaign!r} is being planned by somebody else")
    sets = [f"{name} = IF({{mine}}, VALUES({name}), {name})" for name in ("address", "line", "variables", "provider")]
    sets += [
        "claim = IF({mine}, NULL, claim)",
        "attempts = IF({mine}, 0, attempts)",
        "due_at = IF({mine}, NULL, due_at)",
        "reason = IF({mine}, VALUES(reason), reason)",
        "planned_at = IF({mine}, NOW(6), planned_at)",
        "changed_at = IF({mine}, NOW(6), changed_at)",
        "batch = IF({mine}, VALUES(batch), batch)",
        # The two that the condition asks for come last: assignments run left to right.
        "state = IF({mine}, VALUES(state), state)",
        f"plan = IF(email_recipients.plan <> VALUES(plan) AND state IN ({_UNSENT}), VALUES(plan), plan)",
    ]
    update = ", ".join(sets).format(mine=_MINE)
    places = [
        f"(:campaign, :a{n}, :i{n}, :s{n}, :plan, :b{n}, :l{n}, :v{n}, :provider, :r{n}, NOW(6), NOW(6))"
        for n in range(len(rows))
    ]
    values: dict[str, Any] = {"campaign": campaign, "plan": plan, "provider": provider, "resend": resend}
    # By key, so that two planners never wait for each other in a circle.
    for n, (batch, row) in enumerate(sorted(rows, key=lambda pair: pair[1].identity)):
        values |= {
            f"a{n}": row.address,
            f"i{n}": row.identity,
            f"s{n}": row.state.value,
            f"b{n}": batch,
            f"l{n}": row.line,
            f"v{n}": row.variables,
            f"r{n}": row.reason,
        }
    connection.execute(text(f"{_INSERT_HEAD}{', '.join(places)} ON DUPLICATE KEY UPDATE {update}"), values)
    counted = connection.execute(
        text(
            "SELECT batch, COUNT(*) AS n FROM email_recipients WHERE plan = :plan AND batch BETWEEN :first AND :last"
            " AND state = 'pending' GROUP BY batch"
        ),
        {"plan": plan, "first": min(b for b, _ in rows), "last": max(b for b, _ in rows)},
    )
    return {row.batch: row.n for row in counted}


def claim_batch(connection: Connection, plan: str, batch: int, *, claim: str, resend: bool) -> list[Row]:
    """Take the batch's recipients that are to be sent to now, those never tried first.

    What a lost claim left in ``sending`` is in doubt; under ``resend`` it is taken again.
    """
    key = {"plan": plan, "batch": batch, "claim": claim, "reason": LOST_WORKER}
    left = "claimed" if resend else "in_doubt"
    connection.execute(
        text(
            f"UPDATE email_recipients SET state = '{left}', reason = :reason, changed_at = NOW(6)"
            " WHERE plan = :plan AND batch = :batch AND state = 'sending'"
        ),
        key,
    )
    also = ", 'in_doubt'" if resend else ""
    connection.execute(
        text(
            "UPDATE email_recipients SET state = 'claimed', claim = :claim, changed_at = NOW(6) WHERE plan = :plan"
            f" AND batch = :batch AND (state IN ('pending', 'claimed'{also}) OR (state = 'deferred' AND due_at <= NOW(6)))"
        ),
        key,
    )
    rows = connection.execute(
        text(
            "SELECT id, address, identity, variables, attempts, enhanced, code FROM email_recipients"
            " WHERE plan = :plan AND batch = :batch AND claim = :claim AND state = 'claimed' ORDER BY due_at, line, id"
        ),
        key,
    )
    return [
        Row(row.id, row.address, row.identity, json.loads(row.variables), row.attempts, row.enhanced, row.code)
        for row in rows
    ]


@lru_cache(maxsize=64)
def _begin_sql(rows: int) -> TextClause:
    ids = ", ".join(f":i{n}" for n in range(rows))
    message_ids = " ".join(f"WHEN :i{n} THEN :m{n}" for n in range(rows))
    return text(
        "UPDATE email_recipients r SET state = 'sending', attempts = attempts + 1,"
        f" message_id = CASE id {message_ids} END, sending_at = NOW(6), changed_at = NOW(6)"
        f" WHERE r.id IN ({ids}) AND r.claim = :claim AND r.state = 'claimed'"
        f" AND NOT EXISTS ({SUPPRESSED.format(identity='r.identity')})"
    )


def begin(connection: Connection, begun: Sequence[tuple[Row, str]], *, claim: str, scopes: Sequence[str]) -> set[int]:
    """claimed → sending: the phase that must be committed before DATA; takes rows with their Message-IDs.

    The ids of those that may be sent: not the ones whose address was suppressed meanwhile, or that are another claim's.
    """
    values: dict[str, Any] = {"claim": claim, **scope_values(scopes)}
    for n, (row, message_id) in enumerate(begun):
        values |= {f"i{n}": row.id, f"m{n}": message_id}
    ids = [row.id for row, _ in begun]
    if connection.execute(_begin_sql(len(begun)), values).rowcount == len(begun):
        return set(ids)
    found = connection.execute(
        text("SELECT id FROM email_recipients WHERE id IN :ids AND claim = :claim AND state = 'sending'").bindparams(
            bindparam("ids", expanding=True)
        ),
        {"ids": ids, "claim": claim},
    )
    return {row.id for row in found}


def scope_values(scopes: Sequence[str]) -> dict[str, str]:
    """The parameters of `SUPPRESSED`: up to four scopes."""
    padded = [*scopes, *[scopes[0]] * 4]
    return {f"scope{n}": padded[n] for n in range(4)}


_FINISH = (
    "UPDATE email_recipients SET state = :state, attempts = :attempts, code = COALESCE(:code, code),"
    " enhanced = IF(:code IS NULL, enhanced, :enhanced), response = COALESCE(:response, response),"
    " queue_id = COALESCE(:queue_id, queue_id), reason = :reason, changed_at = NOW(6),"
    " sent_at = IF(:state = 'sent', NOW(6), sent_at),"
    " due_at = IF(:due_us IS NULL, due_at, NOW(6) + INTERVAL :due_us MICROSECOND)"
    " WHERE id = :id AND claim = :claim AND state IN ('claimed', 'sending', 'in_doubt')"
)
_FINISH_SQL = text(_FINISH)


def finish(connection: Connection, result: Result, *, claim: str) -> bool:
    """Write how a try ended; False if the recipient is no longer this claim's.

    A claim that was lost meanwhile still holds the answer: what the next claim called in doubt is settled by it, unless an
    operator was quicker.
    """
    return (
        connection.execute(
            _FINISH_SQL,
            {
                "id": result.id,
                "claim": claim,
                "state": result.state.value,
                "attempts": result.attempts,
                "code": result.code,
                "enhanced": result.enhanced,
                "response": result.response,
                "queue_id": result.queue_id,
                "reason": result.reason,
                "due_us": None if result.due_in_s is None else int(result.due_in_s * 1_000_000),
            },
        ).rowcount
        == 1
    )


@lru_cache(maxsize=64)
def _finish_sent_sql(rows: int) -> TextClause:
    def by_id(letter: str) -> str:
        return "CASE id " + " ".join(f"WHEN :i{n} THEN :{letter}{n}" for n in range(rows)) + " END"

    return text(
        f"UPDATE email_recipients SET state = 'sent', attempts = {by_id('a')}, code = {by_id('c')}, enhanced = {by_id('e')},"
        f" response = {by_id('r')}, queue_id = {by_id('q')}, reason = NULL, changed_at = NOW(6), sent_at = NOW(6)"
        f" WHERE id IN ({', '.join(f':i{n}' for n in range(rows))}) AND claim = :claim"
        " AND state IN ('claimed', 'sending', 'in_doubt')"
    )


def finish_sent(connection: Connection, results: Sequence[Result], *, claim: str) -> None:
    """`finish` for several that were sent, in one statement."""
    if not results:
        return
    values: dict[str, Any] = {"claim": claim}
    for n, r in enumerate(results):
        values |= {f"i{n}": r.id, f"a{n}": r.attempts, f"c{n}": r.code}
        values |= {f"e{n}": r.enhanced, f"r{n}": r.response, f"q{n}": r.queue_id}
    connection.execute(_finish_sent_sql(len(results)), values)


def deferred_due(connection: Connection, plan: str, batch: int) -> list[float]:
    """In how many seconds each of the batch's deferred recipients is due, the next one first."""
    found = connection.execute(
        text(
            "SELECT TIMESTAMPDIFF(MICROSECOND, NOW(6), due_at) / 1000000 AS due_in_s FROM email_recipients"
            " WHERE plan = :plan AND batch = :batch AND state = 'deferred' ORDER BY due_at"
        ),
        {"plan": plan, "batch": batch},
    )
    return [max(0.0, float(row.due_in_s)) for row in found]


def settle(connection: Connection, campaign: str) -> None:
    """Once the run has ended: what was in the middle of sending is in doubt, what a cancelled run did not get to is cancelled."""
    ended = (
        "UPDATE email_recipients r JOIN email_campaigns c ON c.name = r.campaign AND c.plan = r.plan"
        " JOIN runs ON runs.run_id = c.run_id SET r.state = {state}, r.reason = {reason}, r.changed_at = NOW(6)"
        " WHERE c.name = :campaign AND {ended} AND r.state IN ({states})"
    )
    key = {"campaign": campaign, "reason": LOST_WORKER}
    over = "runs.finished_at IS NOT NULL"
    connection.execute(
        text(ended.format(state="'in_doubt'", reason=":reason", ended=over, states="'sending'")),
        key,
    )
    connection.execute(
        text(
            ended.format(
                state="'cancelled'",
                reason="'the run was cancelled'",
                ended="runs.status = 'cancelled'",
                states="'pending', 'claimed', 'deferred'",
            )
        ),
        key,
    )


def settle_leftovers(connection: Connection, campaign: str, plan: str) -> None:
    """At the run's end, when no job is at work any more: what is still in the middle of sending is in doubt."""
    connection.execute(
        text(
            "UPDATE email_recipients SET state = 'in_doubt', reason = :reason, changed_at = NOW(6)"
            " WHERE campaign = :campaign AND plan = :plan AND state = 'sending'"
        ),
        {"campaign": campaign, "plan": plan, "reason": LOST_WORKER},
    )


def counts(connection: Connection, campaign: str) -> dict[str, int]:
    """How many recipients are in which state; every state has its number."""
    found = connection.execute(
        text("SELECT state, COUNT(*) AS n FROM email_recipients WHERE campaign = :campaign GROUP BY state"),
        {"campaign": campaign},
    )
    return dict.fromkeys((state.value for state in State), 0) | {row.state: row.n for row in found}


def sending_since(
    connection: Connection, provider: str, seconds: float, domains: Sequence[str] = ()
) -> list[tuple[float, int]]:
    """What was sent through the provider (to these domains) in the last ``seconds``: pairs of age in seconds and count."""
    where = " OR ".join(f"address LIKE :d{n}" for n in range(len(domains)))
    values: dict[str, Any] = {f"d{n}": f"%@{domain}" for n, domain in enumerate(domains)}
    found = connection.execute(
        text(
            "SELECT TIMESTAMPDIFF(SECOND, sending_at, NOW(6)) AS age_s, COUNT(*) AS n FROM email_recipients"
            " WHERE provider = :provider AND sending_at > NOW(6) - INTERVAL :us MICROSECOND"
            f"{f' AND ({where})' if where else ''} GROUP BY age_s"
        ),
        {"provider": provider, "us": int(seconds * 1_000_000), **values},
    )
    # Whole seconds are rounded down: younger than they are, which is the safe side.
    return [(float(row.age_s), int(row.n)) for row in found]


def find_gone(connection: Connection, campaign: str, identities: Sequence[str]) -> set[str]:
    """Which of ``identities`` the campaign has sent to, or may have."""
    if not identities:
        return set()
    found = connection.execute(
        text(
            "SELECT identity FROM email_recipients WHERE campaign = :campaign AND identity IN :identities"
            " AND state IN ('sent', 'in_doubt', 'sending')"
        ).bindparams(bindparam("identities", expanding=True)),
        {"campaign": campaign, "identities": list(identities)},
    )
    return {row.identity for row in found}


def to_resend(connection: Connection, campaign: str, *, after: int, most: int) -> list[Row]:
    """A page of the recipients that an operator wants sent again, by id."""
    found = connection.execute(
        text(
            "SELECT id, address, identity, variables, attempts, enhanced, code FROM email_recipients"
            " WHERE campaign = :campaign AND state = 'pending' AND plan = 'resend' AND id > :after ORDER BY id LIMIT :most"
        ),
        {"campaign": campaign, "after": after, "most": most},
    )
    return [Row(r.id, r.address, r.identity, json.loads(r.variables), r.attempts, r.enhanced, r.code) for r in found]


def find_campaign(connection: Connection, campaign: str) -> Mapping[str, Any] | None:
    """The campaign's row, or None."""
    found = connection.execute(
        text("SELECT name, plan, run_id, provider, created_at, planned_at FROM email_campaigns WHERE name = :name"),
        {"name": campaign},
    )
    row = found.mappings().one_or_none()
    return dict(row) if row is not None else None
