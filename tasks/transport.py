"""Celery's Redis transport, with four changes: messages nobody can read do no harm, publishing costs less, a message with a
priority goes to the head of its queue, and a Redis that was emptied gets the bindings of the living again.

Out of the box, an envelope that is no JSON ends the worker, and one of the wrong shape or with a broken body ends it
and goes back into the queue, for the next worker.  Anybody who can write to the broker, by mistake or on purpose, could
stop every pool.  What is wrong with a message that can be read as one is `tasks.consumer`'s affair.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

import kombu.transport
import redis
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis.exceptions import DataError, RedisError

from tasks.poison import drop


class Channel(kombu_redis.Channel):
    """A channel that survives what is no envelope at all."""

    # One list a queue, not one for each priority: a message with a priority goes to its head, see `_put`.
    priority_steps: list[int] = [0]  # noqa: RUF012 - as kombu declares it
    _publishing_client: redis.Redis | None = None

    def _brpop_read(self, **options: Any) -> Any:
        return self._read(super()._brpop_read, **options)

    def _receive_one(self, client: Any) -> Any:
        return self._read(super()._receive_one, client)

    def _read(self, read: Any, *args: Any, **options: Any) -> Any:
        try:
            return read(*args, **options)
        except (Empty, OSError, RedisError, KeyError):
            # Nothing there, or the connection is gone.  KeyError is how kombu's poller says the latter.
            raise
        except Exception as error:  # whatever a decoder may raise: ValueError, RecursionError, AttributeError ...
            # Decoding errors carry what they could not decode: JSONDecodeError in doc, UnicodeDecodeError in object.
            found = getattr(error, "doc", None) or getattr(error, "object", None) or "(its text is not known)"
            drop("its envelope is not JSON", found, error)
            return True

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        if not self._get_message_priority(message) or options.get("_publish_batch") is not None:  # type: ignore[no-untyped-call]
            super()._put(queue, message, **options)  # type: ignore[no-untyped-call]
            return
        with self.conn_or_acquire() as client:
            client.rpush(queue, dumps(message))  # type: ignore[no-untyped-call]

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", arguments: Any = None, **options: Any
    ) -> None:
        # kombu remembers in the process what it has bound, and leaves it at that: once Redis was emptied, Flower and whoever
        # else lives long would never get an answer of a worker again.
        bound = self.state.has_binding(queue, exchange or "amq.direct", routing_key)
        super().queue_bind(queue, exchange, routing_key, arguments, **options)  # type: ignore[no-untyped-call]
        if bound:
            exchange = exchange or "amq.direct"
            made = self.typeof(exchange).prepare_bind(queue, exchange, routing_key, arguments)  # type: ignore[no-untyped-call]
            self._queue_bind(exchange, *made)  # type: ignore[no-untyped-call]

    def _create_client(self, asynchronous: bool = False) -> Any:
        # kombu builds a client for each command, which takes longer than the command.  A client for publishing is no
        # more than a name for its pool, and that is safe between threads; kombu replaces the pool after a fork, so the
        # child builds its own.
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._publishing_client is None or self._publishing_client.connection_pool is not self.pool:
            self._publishing_client = super()._create_client()  # type: ignore[no-untyped-call]
        return self._publishing_client


class Transport(kombu_redis.Transport):
    """A transport that survives an envelope of the wrong shape."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except DataError as error:
            # Of all the driver's errors the only one that is the message's fault: a delivery tag that Redis cannot
            # store.
            drop("its envelope has the wrong shape", message, error)
        except (OSError, RedisError):
            raise
        except Exception as error:  # any key may be missing, any value of any type
            drop("its envelope has the wrong shape", message, error)


def install() -> None:
    """Have ``redis://`` and ``rediss://`` broker URLs use this transport; call it before anything connects."""
    for scheme in ("redis", "rediss"):
        kombu.transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
        kombu.transport._transport_cache.pop(scheme, None)
