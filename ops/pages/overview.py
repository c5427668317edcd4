"""The first page: what is wrong, what runs, what waits, what fails, who works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from ops.errors import UsageError
from ops.health import all_checks
from ops.pages.handler import Page
from ops.pages.hours import HOURS, Hours, read_hours
from ops.pages.queue_waits import queue_waits
from ops.pages.reading import asked, shared
from ops.pages.troubles import read_watch, troubles
from ops.queues import ALIVE_S
from runstate import nodes, overview
from runstate.nodes import Node
from runstate.overview import Minute, Waiting
from runstate.statuses import RunStatus

SPANS = {"": "last hour", "day": f"last {HOURS} hours"}
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
_PATIENCE_S = 0.08
MOST_DEAD = 10_000
"""Dead letters are counted up to here; their own page has the number of all."""


@dataclass(frozen=True, slots=True)
class State:
    """What MySQL tells at once."""

    statuses: dict[RunStatus, int]
    waiting: list[Waiting]
    nodes: list[Node]
    dead: int


class OverviewPage(Page):
    """Everything at a glance, renewed every few seconds."""

    tab = "overview"

    async def get(self) -> None:
        span = self.query("span")
        if span not in SPANS:
            raise UsageError(f"span {span}: day, or nothing for the last hour")
        state = await shared().get("state", asked(read_state), fresh_s=2.7, stale_s=15)
        watch = await shared().get("watch", asked(read_watch), fresh_s=2.7, stale_s=15)
        # These may be long in coming, an hour of attempts and whatever is wrong: the page does not wait, they follow.
        minutes, checks, hours = await asyncio.gather(
            shared().soon("minutes", asked(overview.minutes), fresh_s=5.6, patience_s=_PATIENCE_S),
            shared().soon("checks", all_checks, fresh_s=11.5, patience_s=_PATIENCE_S),
            self._hours(span),
        )
        queues = queue_waits(state.waiting, state.nodes)
        workers = [node for node in state.nodes if node.role != "control"]
        self.page(
            "overview.html",
            parts={
                "alerts": "alerts.html",
                "tiles": "tiles.html",
                "throughput": "throughput.html",
                "queues": "queues.html",
                "workers": "workers.html",
            },
            troubles=troubles(watch, checks or []),
            checked=checks is not None,
            statuses=[(status, state.statuses[status]) for status in _SHOWN_STATUSES],
            dead=state.dead,
            most_dead=MOST_DEAD,
            minutes=minutes or [],
            hours=hours,
            span=span,
            spans=SPANS,
            lately=_lately(minutes or []),
            queues=queues,
            longest_s=max((queue.due_age_s or 0.0 for queue in queues), default=0.0),
            # Who is silent stands first: that is what somebody looks for.
            workers=sorted(workers, key=lambda node: (node.age_s <= ALIVE_S, node.role, node.name)),
            alive_s=ALIVE_S,
        )

    async def _hours(self, span: str) -> Hours | None:
        if not span:
            return None
        return await shared().soon("hours", read_hours, fresh_s=20, patience_s=_PATIENCE_S)


def read_state(connection: Connection) -> State:
    """Read it, in one transaction."""
    return State(
        overview.status_counts(connection),
        overview.waiting(connection),
        nodes.all_nodes(connection),
        overview.dead_count(connection, most=MOST_DEAD),
    )


def _lately(minutes: Sequence[Minute]) -> dict[str, float]:
    """Rates over the last five full minutes: jobs done a minute, and the share of attempts that failed."""
    last = minutes[-6:-1]
    done, troubled = sum(m.done for m in last), sum(m.failed + m.dead for m in last)
    return {
        "per_minute": done / max(1, len(last)),
        "failed_share": troubled / (done + troubled) if done + troubled else 0.0,
    }
