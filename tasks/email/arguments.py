"""The arguments of a campaign, checked as far as they can be without files, database and provider."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from locks.limits import Limit
from tasks.email.content import content_arguments
from tasks.email.recipients import recipients_argument
from tasks.email.tables import MAX_CAMPAIGN_CHARS
from tasks.errors import BadArguments

IN_DOUBT = ("hold", "resend")
RATES = ("14/s", "50000/day")
MAX_BATCH = 1000
RESEND: dict[str, str] = {"ledger": "resend"}
"""Recipients that an operator wants sent again, in the place of a list."""

_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


def campaign_arguments(
    name: str,
    *,
    template: str | Mapping[str, str],
    subject: str,
    recipients: Any,
    sender: str,
    provider: str = "default",
    rates: Sequence[str] | str | None = RATES,
    domain_rates: Mapping[str, Sequence[str] | str] | None = None,
    list_unsubscribe: bool = True,
    in_doubt: str = "hold",
    dry_run: bool = False,
    max_attempts: int = 8,
    retry_s: float = 300.0,
    batch_size: int = 100,
    max_in_flight: int = 20,
    reply_to: str | None = None,
    to_name: str | None = None,
    unsubscribe_scope: str | None = None,
    list_id: str | None = None,
    feedback_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[str | Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The arguments of a campaign as canonical JSON; given its own result, it returns it unchanged.

    ``name``          the campaign: one message per name and address, however often it is started
    ``provider``      the ``EMAIL_PROVIDER_<NAME>`` that it is handed to
    ``rates``         limits of the provider, e.g. ``("14/s", "50000/day")``; all hold at once; None: no limit
    ``domain_rates``  limits by recipient domain: ``{"gmail.com,googlemail.com": "5/s", "*": "2/s"}``
    ``in_doubt``      what may have been sent: `hold` it for an operator, or `resend` it
    ``dry_run``       read, check and count everything; write to no ledger and send nothing
    ``max_attempts``  tries per recipient, ``retry_s`` seconds after the first for the second, then twice as long each time
    ``batch_size``    recipients per job
    ``max_in_flight``  how many recipients a crash of one worker may leave in doubt; 1: every phase has a COMMIT of its own

    The others are those of `tasks.email.content.content_arguments`.  Raises `BadArguments`.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_CAMPAIGN_CHARS or not name.isprintable():
        raise BadArguments(
            f"name={name!r}: give the campaign a name of at most {MAX_CAMPAIGN_CHARS} printable characters"
        )
    if not isinstance(provider, str) or not _PROVIDER.match(provider):
        raise BadArguments(
            f"provider={provider!r}: lower-case letters, digits and _; its URL is in EMAIL_PROVIDER_<NAME>"
        )
    if in_doubt not in IN_DOUBT:
        raise BadArguments(f"in_doubt={in_doubt!r}: give one of {', '.join(IN_DOUBT)}")
    if not isinstance(dry_run, bool):
        raise BadArguments(f"dry_run={dry_run!r}: give True or False")
    if not _is_count(max_attempts) or not 1 <= max_attempts <= 100:
        raise BadArguments(f"max_attempts={max_attempts!r}: give a number between 1 and 100")
    if isinstance(retry_s, bool) or not isinstance(retry_s, int | float) or not 0 < retry_s <= 86400:
        raise BadArguments(f"retry_s={retry_s!r}: give seconds, above 0 and at most a day")
    if not _is_count(batch_size) or not 1 <= batch_size <= MAX_BATCH:
        raise BadArguments(f"batch_size={batch_size!r}: give a number of recipients between 1 and {MAX_BATCH}")
    if not _is_count(max_in_flight) or not 1 <= max_in_flight <= 100:
        raise BadArguments(f"max_in_flight={max_in_flight!r}: give a number of recipients between 1 and 100")
    content = content_arguments(
        template=template,
        subject=subject,
        sender=sender,
        reply_to=reply_to,
        to_name=to_name,
        list_unsubscribe=list_unsubscribe,
        unsubscribe_scope=unsubscribe_scope,
        list_id=list_id,
        feedback_id=feedback_id,
        headers=headers,
        attachments=attachments,
    )
    return {
        **content,
        "name": name,
        "recipients": dict(RESEND) if recipients == RESEND else recipients_argument(recipients),
        "provider": provider,
        "rates": _rates("rates", rates),
        "domain_rates": _domain_rates(domain_rates),
        "in_doubt": in_doubt,
        "dry_run": dry_run,
        "max_attempts": max_attempts,
        "retry_s": retry_s,
        "batch_size": batch_size,
        "max_in_flight": max_in_flight,
    }


def _rates(label: str, rates: Any) -> list[str]:
    given = [rates] if isinstance(rates, str) else list(rates or ())
    for rate in given:
        try:
            Limit.parse(rate)
        except (ValueError, TypeError, AttributeError) as error:
            raise BadArguments(
                f"{label}: {rate!r} is no rate: {error}; give for example 14/s, 50/min, 50000/day"
            ) from None
    return given


def _domain_rates(domain_rates: Any) -> dict[str, list[str]]:
    if domain_rates is None:
        return {}
    if not isinstance(domain_rates, Mapping):
        raise BadArguments('domain_rates: give a dict of domains → rates, e.g. {"gmail.com,googlemail.com": "5/s"}')
    groups: dict[str, list[str]] = {}
    seen: set[str] = set()
    for domains, rates in domain_rates.items():
        names = [name.strip().lower() for name in str(domains).split(",")]
        if not all(names) or seen & set(names) or ("*" in names and len(names) > 1):
            raise BadArguments(f"domain_rates: {domains!r}: each domain once, several joined by commas, * alone")
        seen |= set(names)
        groups[",".join(names)] = _rates(f"domain_rates of {domains}", rates)
    return groups


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
