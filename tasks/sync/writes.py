"""Writes of one batch, part after part: while the API has one, the one before is recorded and the one after prepared.

Three steps for each part, each of which may be the last one that this process does:

- `prepare` (transaction): links and rows under lock, what differs from the common state, the intents with their keys;
- `_Calls.make`: the API, one request at a time; nothing is locked in MySQL meanwhile;
- `record_answers` (transaction): answers become common states; what moved meanwhile is to go another round.

A request that fails may be one record's own fault: an API that chokes on it says 500 or 503, again and again.  So the writes of
a failed request are tried in halves, after the others; only failures in a row say that the API is away.
"""

from __future__ import annotations

import time
from collections import Counter, deque
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
FAILURES_IN_A_ROW = 3
"""One more than a single record can cause: the request that it is in, and the first half of it."""
PART = 50
"""Entities a part, at least: a transaction for each of them alone would cost more than it hides."""


@dataclass(slots=True)
class Written:
    """``again``: entries to go another round; ``failed``: to be left for later, the API would not have them now;
    ``doubtful``: to be read first; ``stopped``: why there were no more.
    """

    again: list[Entry] = field(default_factory=list)
    failed: list[Entry] = field(default_factory=list)
    doubtful: list[Planned] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    stopped: RemoteError | None = None


def write_parts(
    scene: Scene,
    entries: Sequence[Entry],
    checkpoint: Checkpoint,
    *,
    deletes: bool,
    merge_moved: bool,
    singly: bool = False,
) -> Written:
    """Prepare, write and record these entries; what is left of them is in ``again``, ``failed`` and ``doubtful``.

    ``singly``  one write a request, whatever the API takes: to find the one that keeps the others from being done
    """
    written, calls = Written(), _Calls(scene.connector, singly=singly)
    size = _part_size(scene.connector)
    under_way: Aside[list[Answer]] | None = None

    def record(answers: Sequence[Answer]) -> None:
        recorded: Recorded = checkpoint(lambda c: record_answers(c, scene, answers, merge_moved=merge_moved))
        for entry in recorded.again:
            (written.failed if entry.id in calls.failed else written.again).append(entry)
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
            answers = under_way.result() if under_way is not None else []
            under_way = Aside(partial(calls.make, planned)) if planned else None
            if answers:
                record(answers)
        if under_way is not None:
            record(under_way.result())
    finally:
        calls.abandoned = True
        if under_way is not None:
            # The caller lets go of the entities' locks: no write may be under way then.
            under_way.ended()
    written.stopped = calls.stopped or calls.last_failure
    return written


def _part_size(connector: Connector) -> int:
    """Whole requests, and not too few entities."""
    size = max(1, connector.capabilities.batch_size)
    return size * -(-PART // size)


class _Calls:
    """The calls of one batch, made in one thread at a time.

    ``stopped``    why the API takes no more: what comes after is answered with that, and not sent
    ``abandoned``  whoever waited for the answers has gone: nothing more is sent
    ``failed``     ids of entries whose own request failed
    """

    def __init__(self, connector: Connector, *, singly: bool) -> None:
        self.connector = connector
        self.stopped: RemoteError | None = None
        self.abandoned = False
        self.failed: set[int] = set()
        self._in_a_row: list[Unavailable] = []
        self._size = 1 if singly else max(1, connector.capabilities.batch_size)
        self._enough_at = time.monotonic() + CALLS_S

    def make(self, planned: Sequence[Planned]) -> list[Answer]:
        """Make these writes, as many in a request as the API takes.

        Writes that were not made are answered with the reason: their intents are then taken back.
        """
        answers: list[Answer] = []
        parts = deque(planned[start : start + self._size] for start in range(0, len(planned), self._size))
        while parts:
            part = parts.popleft()
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
                if self._is_of_all(error):
                    self.stopped = error
                elif len(part) > 1:
                    half = len(part) // 2
                    parts += [part[:half], part[half:]]
                    continue
                else:
                    self.failed.add(part[0].entry.id)
                answers += [Answer(plan, error) for plan in part]
                continue
            self._in_a_row.clear()
            answers += [Answer(plan, end) for plan, end in zip(part, ends, strict=True)]
            self.stopped = next((end for end in ends if isinstance(end, RateLimited | Unusable)), None)
        return answers

    @property
    def last_failure(self) -> Unavailable | None:
        """The failure that nothing good came after."""
        return self._in_a_row[-1] if self._in_a_row else None

    def _is_of_all(self, error: RemoteError) -> bool:
        """Whether the next request would meet this too; a failure without more may be this record's own."""
        if not isinstance(error, Unavailable) or error.retry_after_s is not None:
            return True
        self._in_a_row.append(error)
        return len(self._in_a_row) >= FAILURES_IN_A_ROW
