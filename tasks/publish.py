"""Messages: hints to a worker that a start or a job waits in MySQL. Losing one costs seconds, never work."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from amqp.exceptions import ChannelError
from kombu.exceptions import OperationalError

from tasks import failpoints
from tasks.celery import app
from tasks.kinds import JobKind
from tasks.registry import start_name_of
from tasks.settings import settings

log = logging.getLogger("holdfast.publish")

HEAD_OF_QUEUE = 9
"""A message's priority, as AMQP counts; `tasks.transport` has Redis do the same."""


def publish_jobs(kind: JobKind, run_id: str, job_nos: Sequence[int], *, about: str = "", first: bool = False) -> int:
    """Send one message a job, each under a fresh task id; return how many the broker took.

    ``first``  at the head of the queue, where the broker can do that: for jobs that have waited for their lease to run out.

    A broker that is down is logged and left to the dispatcher: the rows say ``queued``, so they will be published again.
    """
    sent = 0
    if not job_nos:
        return sent
    failpoints.hit("publish.before")
    label = about or f"run {run_id[:8]}"
    try:
        with app.producer_or_acquire() as producer:
            for job_no in job_nos:
                app.send_task(
                    kind.name,
                    args=(run_id, job_no),
                    queue=kind.queue,
                    task_id=str(uuid.uuid4()),
                    argsrepr=f"({label} · {job_label(job_no)})",
                    kwargsrepr="",
                    producer=producer,
                    priority=HEAD_OF_QUEUE if first else None,
                    retry=False,
                    ignore_result=True,
                )
                sent += 1
    except (OperationalError, OSError) as error:
        log.warning("run %s: %d of %d job messages not published: %s", run_id, len(job_nos) - sent, len(job_nos), error)
    return sent


def job_label(job_no: int) -> str:
    """How a job is called where people read it."""
    return "planning" if job_no == 0 else f"job {job_no}"


def publish_start(kind_name: str, run_id: str, *, about: str, canvas: Mapping[str, Any] | None = None) -> bool:
    """Send the message of a start, under its run id; return whether the broker took it."""
    failpoints.hit("start.before_publish")
    try:
        app.send_task(
            start_name_of(kind_name),
            args=(),
            kwargs={},
            task_id=run_id,
            queue=settings().control_queue,
            argsrepr=about,
            kwargsrepr="",
            retry=False,
            ignore_result=True,
            **(canvas or {}),
        )
    except (OperationalError, OSError) as error:
        log.warning("run %s is recorded, its message is not sent (%s); the dispatcher will send it", run_id, error)
        return False
    return True


def queue_length(queue: str) -> int:
    """Messages that wait in a queue of the broker; raises kombu's OperationalError if the broker is away."""
    return queue_lengths([queue])[queue]


def queue_lengths(queues: Iterable[str]) -> dict[str, int]:
    """As `queue_length`, of several queues over one connection."""
    with app.connection_for_read() as connection:
        return {queue: _length(connection, queue) for queue in queues}


def _length(connection: Any, queue: str) -> int:
    try:
        # A channel for each: the 404 of one that is not there closes it.
        with connection.channel() as channel:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except ChannelError:
        # 404: on Redis an empty queue is no queue.
        return 0
    except connection.connection_errors as error:
        raise OperationalError(str(error)) from error
