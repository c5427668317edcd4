"""The first page: what runs, what waits, what fails, who works, what is wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection

from ops.checks import Check
from ops.health import all_checks
from ops.pages.handler import Page, asked, shared
from ops.queues import ALIVE_S
from runstate import nodes, overview
from runstate.nodes import Node
from runstate.overview import Minute, Waiting
from runstate.statuses import RunStatus
from tasks.registry import kinds

_SHOWN_STATUSES = (
    RunStatus.REQUESTED,
    RunStatus.PLANNING,
    RunStatus.RUNNING,
    RunStatus.PAUSED,
    RunStatus.CANCELLING,
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.REFUSED,
)


@dataclass(frozen=True, slots=True)
class State:
    """What MySQL tells at once."""

    statuses: dict[RunStatus, int]
    waiting: list[Waiting]
    nodes: list[Node]
    dead: int


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


class OverviewPage(Page):
    """Everything at a glance, renewed every few seconds."""

    tab = "overview"

    async def get(self) -> None:
        state = await shared().get("state", asked(read_state), fresh_s=2.5, stale_s=15)
        # These may be long in coming, an hour of attempts and whatever is wrong: the page does not wait, they follow.
        counted, checks = await asyncio.gather(
            shared().soon("minutes", asked(overview.minutes), fresh_s=4, patience_s=0.08),
            shared().soon("checks", all_checks, fresh_s=10, patience_s=0.08),
        )
        minutes = counted or []
        self.page(
            "overview.html",
            parts={
                "alerts": "alerts.html",
                "tiles": "tiles.html",
                "throughput": "throughput.html",
                "queues": "queues.html",
            },
            statuses=[(status, state.statuses[status]) for status in _SHOWN_STATUSES],
            dead=state.dead,
            minutes=minutes,
            lately=_lately(minutes),
            queues=queue_waits(state),
            workers=[node for node in state.nodes if node.role != "control"],
            alive_s=ALIVE_S,
            checks=None if checks is None else troubles(checks),
        )


def read_state(connection: Connection) -> State:
    """Read it, in one transaction."""
    return State(
        overview.status_counts(connection),
        overview.waiting(connection),
        nodes.all_nodes(connection),
        overview.dead_count(connection),
    )


def troubles(checks: list[Check]) -> list[Check]:
    """What is not well, the worst first."""
    return sorted((check for check in checks if check.level != "ok"), key=lambda check: check.level)


def queue_waits(state: State) -> list[QueueWait]:
    """By queue: kinds that share one wait together."""
    waiting = {of_kind.kind: of_kind for of_kind in state.waiting}
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
                workers=sum(name in node.queues for node in state.nodes if node.age_s <= ALIVE_S),
                starts=sum(w.starts for w in of_queue),
                open=sum(w.open for w in of_queue),
                out=sum(w.queued for w in of_queue),
                running=sum(w.running for w in of_queue),
                due_age_s=None if oldest is None else oldest.due_age_s,
                due_run_id=None if oldest is None else oldest.due_run_id,
            )
        )
    return found


def _lately(minutes: list[Minute]) -> dict[str, float]:
    """Rates over the last five full minutes: jobs done a minute, and the share of attempts that failed."""
    last = minutes[-6:-1]
    done, troubled = sum(m.done for m in last), sum(m.failed + m.dead for m in last)
    return {
        "per_minute": done / max(1, len(last)),
        "failed_share": troubled / (done + troubled) if done + troubled else 0.0,
    }
