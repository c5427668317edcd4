"""Planning: recipients stream into the ledger in batches, one job a batch; no more than a part of them is in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasks.email.addresses import identity_of
from tasks.email.errors import BadRecipients
from tasks.email.ledger import Planned, State
from tasks.email.message import Message
from tasks.email.recipients import Recipient
from tasks.email.tables import MAX_ADDRESS_CHARS

PART_RECIPIENTS = 1000
"""About so many go into one transaction of the ledger."""
PART_BYTES = 512 * 1024

Lookup = Callable[[Sequence[str]], Mapping[str, str]]
"""Which of these identities are suppressed, and why."""
Write = Callable[[Sequence[tuple[int, Planned]]], Mapping[int, int]]
"""Write recipients with their batch numbers; how many of each batch are to be sent to."""


def plan_batches(
    recipients: Iterable[Recipient],
    message: Message,
    *,
    source: str,
    plan: str,
    batch_size: int,
    suppressed: Lookup,
    write: Write,
) -> Generator[dict[str, Any], None, dict[str, int]]:
    """One payload per batch that has somebody to send to; returns what was counted.

    Raises `BadRecipients` with the line for the first recipient whose message cannot be made: nothing has been sent by then.
    """
    counted: Counter[str] = Counter()
    batch = 0
    for part in _parts(_checked(recipients, message, source, counted), batch_size):
        rows = _planned(part, suppressed, counted)
        numbered = [(batch + place // batch_size, row) for place, row in enumerate(rows)]
        to_send = write(numbered)
        for number in sorted(to_send):
            yield {"plan": plan, "batch": number, "recipients": to_send[number]}
        counted["planned"] += sum(to_send.values())
        batch = numbered[-1][0] + 1
    return dict(counted)


def _checked(
    recipients: Iterable[Recipient], message: Message, source: str, counted: Counter[str]
) -> Iterator[Recipient]:
    for recipient in recipients:
        counted["read"] += 1
        if recipient.address is not None:
            missing = message.missing(recipient.address, recipient.variables)
            if missing:
                raise BadRecipients(source, missing, place=recipient.place)
        yield recipient


def _planned(part: Sequence[Recipient], suppressed: Lookup, counted: Counter[str]) -> list[Planned]:
    why = suppressed([recipient.address.identity for recipient in part if recipient.address is not None])
    rows = []
    for recipient in part:
        address, variables = recipient.address, json.dumps(recipient.variables, ensure_ascii=False)
        if address is None:
            counted["refused"] += 1
            # Its place makes it one of its own; the space, that no address is ever the same.
            identity = f"{recipient.place} {identity_of(recipient.given)}"[:MAX_ADDRESS_CHARS]
            given = recipient.given[:MAX_ADDRESS_CHARS]
            rows.append(Planned(given, identity, recipient.place, "{}", State.FAILED, (recipient.refused or "")[:500]))
        elif address.identity in why:
            counted["suppressed"] += 1
            reason = why[address.identity]
            rows.append(
                Planned(address.normalised, address.identity, recipient.place, variables, State.SUPPRESSED, reason)
            )
        else:
            rows.append(Planned(address.normalised, address.identity, recipient.place, variables))
    return rows


def _parts(recipients: Iterable[Recipient], batch_size: int) -> Iterator[list[Recipient]]:
    """Several whole batches at a time, unless their variables are long."""
    most = max(1, PART_RECIPIENTS // batch_size) * batch_size
    part: list[Recipient] = []
    size = 0
    for recipient in recipients:
        part.append(recipient)
        size += len(repr(recipient.variables))
        if len(part) == most or size > PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
