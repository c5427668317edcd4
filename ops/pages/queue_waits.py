"""What waits on each queue: kinds that share one wait together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ops.queues import ALIVE_S
from runstate.nodes import Node
from runstate.overview import Waiting
from tasks.registry import kinds


@dataclass(frozen=True, slots=True)
class QueueWait:
    """What waits on one queue; ages in seconds."""

    name: str
    kinds: str
    workers: int
    starts: int
    open: int
    out: int
    running: int
    due_age_s: float | None
    due_run_id: str | None


def queue_waits(waits: Sequence[Waiting], living: Sequence[Node]) -> list[QueueWait]:
    """By queue: kinds that share one wait together."""
    waiting = {of_kind.kind: of_kind for of_kind in waits}
    queues: dict[str, list[str]] = {}
    for kind in kinds().values():
        queues.setdefault(kind.queue, []).append(kind.name)
    found = []
    for name, members in sorted(queues.items()):
        of_queue = [waiting[kind] for kind in members if kind in waiting]
        oldest = max((w for w in of_queue if w.due_age_s is not None), key=lambda w: w.due_age_s or 0, default=None)
        found.append(
            QueueWait(
                name=name,
                kinds=", ".join(members),
                workers=sum(name in node.queues for node in living if node.age_s <= ALIVE_S),
                starts=sum(w.starts for w in of_queue),
                open=sum(w.open for w in of_queue),
                out=sum(w.queued for w in of_queue),
                running=sum(w.running for w in of_queue),
                due_age_s=None if oldest is None else oldest.due_age_s,
                due_run_id=None if oldest is None else oldest.due_run_id,
            )
        )
    return found
