"""The Redis client that locks use, and the one place where the driver's errors become ours."""

from __future__ import annotations

import os
import re
import socket
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from .errors import LockUnavailable

CONNECT_TIMEOUT_S = 0.75
ANSWER_TIMEOUT_S = 1.0


def connect(redis_url: str, *, owner: str | None = None) -> redis.Redis:
    """A client that gives up within about 2 s when Redis is down or hung; build it once per process, after the fork.

    ``redis_url``  ``redis://``, ``rediss://`` or ``unix://``; answers are decoded to ``str``
    ``owner``      what ``CLIENT LIST`` shows operators; host and process id if not given

    Connects lazily: nothing is raised here if Redis is away.  Raises ValueError for a malformed URL.
    """
    return _Client.from_url(
        redis_url,
        decode_responses=True,
        # An operator who sees a client stuck in CLIENT LIST can tell whose it is.
        client_name=_client_name(owner),
        # A host that drops packets: without it connect() waits for the kernel, two minutes.
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        # A server that is stopped or swapping still accepts connections; without it a read waits for ever.
        socket_timeout=ANSWER_TIMEOUT_S,
        # A peer that vanished behind a firewall is noticed, instead of being handed out by the pool again.
        socket_keepalive=True,
        # A connection idle for longer is probed first: if it is half dead, we fail before the SET is sent and not after
        # it, when nobody could say whether the lock was set.
        health_check_interval=15,
        # Each retry would wait for the time-outs above again, and send commands twice whose first answer was
        # lost.  redis.Redis retries ten times unless told otherwise.  Whoever needs the lock decides what to do without
        # it.
        retry=Retry(NoBackoff(), 0),
        # A server that announces maintenance would otherwise have the driver stretch these time-outs to 10 s.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )


class _Client(redis.Redis):
    """Leaves a server that takes no writes any more."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except ReadOnlyError:
            # A primary that became a replica keeps its connections: without it we would stay with it for ever, while the
            # address leads to the new primary.
            self.connection_pool.disconnect()
            raise


class TryingTo:
    """Turn whatever the driver raises inside into `LockUnavailable` (or ``unavailable``); ``doing`` completes "cannot …"."""

    __slots__ = ("doing", "unavailable")

    def __init__(self, doing: str, unavailable: type[LockUnavailable] = LockUnavailable) -> None:
        self.doing = doing
        self.unavailable = unavailable

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, (RedisError, OSError)):
            raise self.unavailable(self.doing, f"{type(error).__name__}: {error}") from error


def _client_name(owner: str | None) -> str:
    # Redis takes no spaces and no control characters in a client's name.
    return re.sub(r"[^!-~]", "_", owner or f"holdfast:{socket.gethostname()}:{os.getpid()}")
