"""One entity, one writer: while a batch writes records to the API, nobody else reads and writes the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import redis

from locks.errors import LockUnavailable
from locks.many import held_many
from tasks.sync.errors import NotNow
from tasks.sync.links import Pair
from tasks.sync.outbox import Entry

TTL_S = 10.0
"""Less than a job's lease: when the job of a worker that died is handed on, its entities are free."""
AWAY_S = 2.0


@contextmanager
def entities_held(
    client: redis.Redis, pair: Pair, entries: Sequence[Entry], owner: str
) -> Iterator[tuple[list[Entry], list[Entry]]]:
    """Those entries whose entities are held for as long as the block runs, and those that somebody else holds.

    The lock is a quick no; what it protects is fenced as well: a link that moved meanwhile is seen by its ``seq``, a claim
    that was lost lets no checkpoint through.  Raises `NotNow` if Redis is away.
    """
    names = [["sync", pair.connection, pair.kind, entry.entity] for entry in entries]
    try:
        with held_many(client, names, TTL_S, owner) as held:
            mine = [entry for entry, is_mine in zip(entries, held.mine, strict=True) if is_mine]
            yield mine, [entry for entry, is_mine in zip(entries, held.mine, strict=True) if not is_mine]
    except LockUnavailable as error:
        raise NotNow(f"the entities of this batch cannot be locked: {error}", wait_s=AWAY_S) from error
