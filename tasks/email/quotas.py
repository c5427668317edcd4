"""What went through a provider lately, read from the ledger: so daily quotas survive a Redis that was emptied."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Engine

from locks.limits import Limit
from tasks.email import ledger


def rebuild(engine: Callable[[], Engine]) -> Callable[[str, Limit], Iterable[tuple[float, int]]]:
    """What `locks.limits.RateLimiter` asks for a key that Redis does not know: ages in seconds, and how many went then."""

    def ask(key: str, limit: Limit) -> Iterable[tuple[float, int]]:
        _, kind, provider, *domains = key.split(":")
        named = domains[0].split(",") if kind == "domain" else []
        with engine().connect() as connection:
            found = ledger.sending_since(connection, provider, limit.period_s, named)
            connection.rollback()
        return found

    return ask
