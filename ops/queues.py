"""``ops queues``: what waits on each queue, and who works on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kombu.exceptions import OperationalError

from ops import exits
from ops.output import Output, duration, error_line
from ops.parsers import Commands
from runstate import nodes
from runstate.backlog import Backlog, backlog
from runstate.nodes import Node
from runstate.transaction import in_transaction
from tasks import clients
from tasks.publish import queue_lengths
from tasks.registry import kinds_by_queue
from tasks.settings import settings

ALIVE_S = 5.0
"""A node whose heartbeat is older does not count: it beats every second."""


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue.

    ``messages`` in the broker, None if that is away; the other numbers are MySQL's, see `runstate.backlog.Backlog`.
    ``workers`` the names of those that live and take from it
    """

    name: str
    kinds: tuple[str, ...]
    workers: tuple[str, ...]
    messages: int | None
    requested: int
    requested_age_s: float | None
    due: int
    later: int
    queued: int
    running: int
    due_age_s: float | None
    moved_age_s: float | None

    @property
    def work(self) -> int:
        """Starts and jobs that could be worked on now."""
        return self.requested + self.due + self.queued


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``queues``."""
    parser = commands.add_parser("queues", parents=[common], help="what waits on each queue, and who works on it")
    parser.set_defaults(run=show_queues)


def show_queues(_: argparse.Namespace, output: Output) -> int:
    """Print every queue; 1 if the broker does not tell the number of messages."""
    found = all_queues()
    if output.as_json:
        output.document(found)
    else:
        columns = (
            "QUEUE",
            "WORKERS>",
            "MESSAGES>",
            "STARTS>",
            "DUE>",
            "LATER>",
            "QUEUED>",
            "RUNNING>",
            "OLDEST DUE>",
            "KINDS",
        )
        output.table(
            columns,
            [
                (
                    queue.name,
                    len(queue.workers),
                    "?" if queue.messages is None else queue.messages,
                    queue.requested,
                    queue.due,
                    queue.later,
                    queue.queued,
                    queue.running,
                    duration(queue.due_age_s),
                    ", ".join(queue.kinds),
                )
                for queue in found
            ],
            ["red" if queue.work and not queue.workers else "" for queue in found],
        )
    if any(queue.messages is None for queue in found):
        error_line("the broker is away, so the number of its messages is not known: `python -m ops health`")
        return exits.TROUBLE
    return exits.OK


def all_queues(*, ask_broker: bool = True) -> list[Queue]:
    """Every queue that a kind uses, that starts use, or that a worker takes from.  Raises `DatabaseUnavailable`.

    ``ask_broker=False`` leaves out the numbers of messages, for which a broker that hangs lets one wait.
    """
    living, waiting = in_transaction(clients.engine(), lambda c: (nodes.all_nodes(c), backlog(c)))
    workers = [node for node in living if node.role == "worker" and node.age_s <= ALIVE_S]
    kinds_of = {queue: tuple(kind.name for kind in kinds) for queue, kinds in kinds_by_queue().items()}
    names = sorted({settings().control_queue, *kinds_of, *(queue for worker in workers for queue in worker.queues)})
    lengths: Mapping[str, int | None] = _lengths(names) if ask_broker else dict.fromkeys(names)
    return [_queue(name, kinds_of.get(name, ()), workers, waiting, lengths[name]) for name in names]


def _queue(
    name: str, kinds: tuple[str, ...], workers: list[Node], waiting: list[Backlog], messages: int | None
) -> Queue:
    jobs = [kind for kind in waiting if kind.kind in kinds]
    # Starts of every kind wait on the control queue, whatever queue the kind's jobs are on.
    starts = waiting if name == settings().control_queue else []
    return Queue(
        name=name,
        kinds=kinds,
        workers=tuple(worker.name for worker in workers if name in worker.queues),
        messages=messages,
        requested=sum(kind.requested for kind in starts),
        requested_age_s=max(_known(kind.requested_age_s for kind in starts), default=None),
        due=sum(kind.due for kind in jobs),
        later=sum(kind.later for kind in jobs),
        queued=sum(kind.queued for kind in jobs),
        running=sum(kind.running for kind in jobs),
        due_age_s=max(_known(kind.due_age_s for kind in jobs), default=None),
        moved_age_s=min(_known(kind.moved_age_s for kind in jobs), default=None),
    )


def _known(ages: Iterable[float | None]) -> list[float]:
    return [age for age in ages if age is not None]


def _lengths(names: list[str]) -> Mapping[str, int | None]:
    try:
        return queue_lengths(names)
    except (OperationalError, OSError):
        # One time-out says it for all.
        return dict.fromkeys(names)
