"""The part of a worker that takes messages, made to survive messages that are not a task of ours.

Set by ``worker_consumer = "tasks.consumer:Consumer"``.  Out of the box, a header without an id has the worker reconnect
for ever and take nothing else.  Here every message that cannot become a running task is acknowledged, logged, counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.control import inspect_command
from kombu.message import Message
from redis.exceptions import RedisError
from vine import promise

from tasks.poison import drop, dropped

_TIME_LIMITS = 2
RECONNECT_S = 2


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer, whose every answer to a bad message is: drop it and go on."""

    def ensure_connected(self, conn: Any) -> Any:
        """Wait for the broker, asking again every `RECONNECT_S` seconds at the most.

        kombu waits longer and longer, up to 30 s: after a long outage work would lie there for that time although the broker
        is back.
        """
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=RECONNECT_S
        )
        return super().ensure_connected(conn)

    def create_task_handler(self, promise: Any = promise) -> Callable[[Message], None]:
        """Celery's own handler, behind a check and a net."""
        handle = super().create_task_handler(promise)

        def on_task_received(message: Message) -> None:
            try:
                if fault := header_fault(message.headers):
                    self._drop(fault, message)
                else:
                    handle(message)
            except (OSError, RedisError):
                # The broker is away: the worker reconnects, and the message, not acknowledged, comes back.
                raise
            except Exception as error:  # a message can be wrong in more ways than Celery looks at
                self._drop("it cannot be handled", message, error)

        return on_task_received

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        self._drop("its body cannot be decoded", message, exc)

    def on_invalid_task(self, _: object, message: Message, exc: Exception) -> None:
        self._drop("it is not a valid task", message, exc)

    def on_unknown_message(self, _: object, message: Message) -> None:
        self._drop("it is not a task", message)

    def on_unknown_task(self, _: object, message: Message, __: Exception) -> None:
        self._drop("its task is not known here (an older or newer release sent it, or it is none of ours)", message)

    def _drop(self, reason: str, message: Message, error: Exception | None = None) -> None:
        drop(reason, {"headers": message.headers, "body": message.body, "delivery": message.delivery_info}, error)
        if not message.acknowledged:
            message.ack()  # type: ignore[no-untyped-call]


def header_fault(headers: object) -> str | None:
    """What is wrong with a task's headers that would only show where it does harm, or None.

    ``timelimit`` is first looked at when a child's slot is already taken, which would then never be given back.
    """
    if not isinstance(headers, dict):
        return "its headers are not an object"
    if "task" in headers and not (isinstance(headers["task"], str) and isinstance(headers.get("id"), str)):
        return "its headers name no task or no id"
    limits = headers.get("timelimit")
    if limits is not None and not (
        isinstance(limits, list)
        and len(limits) == _TIME_LIMITS
        and all(limit is None or (isinstance(limit, (int, float)) and limit >= 0) for limit in limits)
    ):
        return "its time limits are not two numbers"
    return None


@inspect_command(name="dropped_messages")  # type: ignore[untyped-decorator]
def dropped_messages(_: Any, **__: Any) -> dict[str, int]:
    """Messages that this worker dropped since it started, by reason."""
    return dict(dropped)
