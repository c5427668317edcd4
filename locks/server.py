"""How a Redis server is set up, as far as locks and messages stand on it."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from .client import TryingTo


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself.

    ``version``           of the Redis protocol that it offers (Valkey says 7.2.4), as numbers
    ``role``              ``master``, or ``slave`` for a replica
    ``cluster``           whether keys are spread over several servers
    ``max_memory_bytes``  0: no limit of its own; None where it does not say
    ``eviction``          what it does when that is full; None likewise
    ``now_s``             its clock, in seconds since 1970
    """

    version: tuple[int, ...]
    role: str
    cluster: bool
    max_memory_bytes: int | None
    eviction: str | None
    now_s: float


def server_facts(client: redis.Redis) -> ServerFacts:
    """Ask the server behind ``client``.  Raises `LockUnavailable`."""
    with TryingTo("ask Redis how it is set up"):
        info = client.info()
        seconds, microseconds = client.time()
    return ServerFacts(
        version=tuple(int(part) for part in str(info["redis_version"]).split(".") if part.isdecimal()),
        role=str(info["role"]),
        cluster=bool(info.get("cluster_enabled")),
        max_memory_bytes=int(info["maxmemory"]) if "maxmemory" in info else None,
        eviction=info.get("maxmemory_policy"),
        now_s=seconds + microseconds / 1e6,
    )
