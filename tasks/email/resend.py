"""Recipients that an operator wants sent again, read from the ledger as if they came from a list."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine

from tasks.email import ledger
from tasks.email.addresses import parse_address
from tasks.email.recipients import Recipient

PAGE = 1000


def recipients_to_resend(engine: Engine, campaign: str) -> Iterator[Recipient]:
    """Page by page by id: planning takes them over while they are read."""
    after, place = 0, 0
    while True:
        with engine.connect() as connection:
            page = ledger.to_resend(connection, campaign, after=after, most=PAGE)
            connection.rollback()
        if not page:
            return
        for row in page:
            place += 1
            yield Recipient(place, row.address, parse_address(row.address), row.variables)
        after = page[-1].id
