"""Writes of one batch, part after part: while the API has one, the one before is recorded and the one after prepared.

Three steps for each part, each of which may be the last one that this process does:

- `prepare` (transaction): links and rows under lock, what differs from the common state, the intents with their keys;
- `_Calls.make`: the API, one request at a time; nothing is locked in MySQL meanwhile;
- `record_answers` (transaction): answers become common states; what moved meanwhile is to go another round.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection

from tasks import failpoints
from tasks.sync.answers import Answer, Planned, Recorded, record_answers
from tasks.sync.aside import Aside
from tasks.sync.connector import Connector, RateLimited, RemoteError, Unavailable, Unusable
from tasks.sync.effects import Scene
from tasks.sync.errors import NotNow
from tasks.sync.outbox import Entry
from tasks.sync.prepare import prepare

Checkpoint = Callable[[Callable[[Connection], Any]], Any]

STOPPING = (RateLimited, Unavailable, Unusable)
"""After these no further request of the batch makes sense."""
CALLS_S = 60.0
"""After so long a batch ends with what it has, however slow the API, and the rest is another job's."""
PART = 50
"""Entities a part, at least: a transaction for each of them alone would cost more than it hides."""


@dataclass(slots=True)
class Written:
    """``again``: entries to go another round; ``doubtful``: to be read first; ``stopped``: why there were no more."""

    again: list[Entry] = field(default_factory=list)
    doubtful: list[Planned] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    stopped: RemoteError | None = None


def write_parts(
    scene: Scene, entries: Sequence[Entry], checkpoint: Checkpoint, *, deletes: bool, merge_moved: bool
) -> Written:
    """Prepare, write and record these entries; what is left of them is in ``again`` and ``doubtful``."""
    written, calls = Written(), _Calls(scene.connector)
    size = _part_size(scene.connector)
    under_way: Aside[list[Answer]] | None = None

    def record(answers: Sequence[Answer]) -> None:
        recorded: Recorded = checkpoint(lambda c: record_answers(c, scene, answers, merge_moved=merge_moved))
        written.again += recorded.again
        written.doubtful += recorded.doubtful
        written.counts += recorded.counts

    try:
        for start in range(0, len(entries), size):
            if calls.stopped is not None:
                # Nothing is stored of these: they stay in the outbox as they are.
                written.again += entries[start:]
                break
            part = entries[start : start + size]
            planned: list[Planned] = checkpoint(partial(prepare, scene=scene, entries=part, deletes=deletes))
            before, under_way = under_way, None
            answers = before.result() if before is not None else []
            if planned:
                under_way = Aside(partial(calls.make, planned))
            if answers:
                record(answers)
        if under_way is not None:
            last, under_way = under_way.result(), None
            record(last)
    finally:
        calls.abandoned = True
        if under_way is not None:
            # The caller lets go of the entities' locks: no write may be under way then.
            under_way.ended()
    written.stopped = calls.stopped
    return written


def _part_size(connector: Connector) -> int:
    """Whole requests, and not too few entities."""
    size = max(1, connector.capabilities.batch_size)
    return size * -(-PART // size)


class _Calls:
    """The calls of one batch, made in one thread at a time.

    ``stopped``    why the API takes no more: what comes after is answered with that, and not sent
    ``abandoned``  whoever waited for the answers has gone: nothing more is sent
    """

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.stopped: RemoteError | None = None
        self.abandoned = False
        self._size = max(1, connector.capabilities.batch_size)
        self._enough_at = time.monotonic() + CALLS_S

    def make(self, planned: Sequence[Planned]) -> list[Answer]:
        """Make these writes, as many in a request as the API takes.

        Writes that were not made are answered with the reason: their intents are then taken back.
        """
        answers: list[Answer] = []
        for start in range(0, len(planned), self._size):
            part = planned[start : start + self._size]
            if self.stopped is None and (self.abandoned or time.monotonic() > self._enough_at):
                self.stopped = NotNow(f"the calls of this batch took more than {CALLS_S:g} s", wait_s=0.1)
            if self.stopped is not None:
                answers += [Answer(plan, self.stopped) for plan in part]
                continue
            try:
                failpoints.hit("sync.before_write")
                ends = self.connector.write_many([plan.write for plan in part])
                failpoints.hit("sync.after_write")
            except STOPPING as error:
                self.stopped = error
                answers += [Answer(plan, error) for plan in part]
                continue
            answers += [Answer(plan, end) for plan, end in zip(part, ends, strict=True)]
            self.stopped = next((end for end in ends if isinstance(end, RateLimited | Unusable)), None)
        return answers
