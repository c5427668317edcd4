"""The push of one batch: what is to be written is stored, then written, then its answers are recorded.

Three steps, each of which may be the last one that this process does:

- `prepare` (transaction): links and rows under lock, what differs from the common state, the intents with their keys;
- `_call`: the API; nothing is locked in MySQL meanwhile;
- `record_answers` (transaction): answers become common states; what moved meanwhile is merged and goes another round.

An entry that has an intent when a batch begins was written by somebody whose answer is not recorded: it is read first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection

from tasks import failpoints
from tasks.sync import links, outbox, rejects
from tasks.sync.answers import Answer, Planned, Recorded, record_answers
from tasks.sync.connector import (
    Connector,
    NotFound,
    RateLimited,
    Record,
    RemoteError,
    Unavailable,
    Unusable,
    VersionMoved,
)
from tasks.sync.effects import Scene
from tasks.sync.errors import NotNow
from tasks.sync.observe import Read, observe, read_records
from tasks.sync.outbox import Entry
from tasks.sync.prepare import intent_of, planned_of, prepare
from tasks.sync.rejects import Reject

Checkpoint = Callable[[Callable[[Connection], Any]], Any]

ROUNDS = 5
"""How often one batch merges again what moved while it was being written."""
CALLS_S = 60.0
"""After so long the answers so far are recorded, however slow the API: what is not recorded must be read again."""
STOPPING = (RateLimited, Unavailable, Unusable)
"""After these no further request of the batch makes sense."""


@dataclass(slots=True)
class Pushed:
    """``counts``; ``stopped``: why the API took no more; ``left``: how many entities do not agree yet."""

    counts: Counter[str] = field(default_factory=Counter)
    stopped: RemoteError | None = None
    left: int = 0


def push(
    scene: Scene, entries: Sequence[Entry], checkpoint: Checkpoint, *, deletes: bool, merge_again: bool = True
) -> Pushed:
    """Have these entities agree; whatever does not stays in the outbox.

    ``merge_again``  merge what moved while it was being written and write again; else it is left to be read by the next run
    ``checkpoint``  runs a function in a transaction that commits only while the job is this worker's (`Work.checkpoint`)
    """
    pushed = Pushed()
    _read_again(scene, [entry for entry in entries if entry.remote_id is not None], checkpoint, pushed)
    waiting = [entry for entry in entries if entry.local_id is not None]
    doubtful = [entry for entry in waiting if entry.intent is not None]
    ready = [entry for entry in waiting if entry.intent is None]
    for _ in range(ROUNDS if merge_again else 1):
        if pushed.stopped is None and doubtful:
            ready += _resolve(scene, doubtful, checkpoint, pushed)
            doubtful = []
        if pushed.stopped is not None or not ready:
            break
        planned: list[Planned] = checkpoint(partial(prepare, scene=scene, entries=ready, deletes=deletes))
        if not planned:
            ready = []
            break
        answers, pushed.stopped = _call(scene.connector, planned)
        recorded = _record(scene, answers, checkpoint, pushed, merge_moved=merge_again)
        ready = recorded.again
        doubtful = [replace(plan.entry, intent=intent_of(plan)) for plan in recorded.doubtful]
    pushed.left = len(ready) + len(doubtful)
    return pushed


def _record(
    scene: Scene, answers: Sequence[Answer], checkpoint: Checkpoint, pushed: Pushed, *, merge_moved: bool = True
) -> Recorded:
    recorded: Recorded = checkpoint(lambda c: record_answers(c, scene, answers, merge_moved=merge_moved))
    pushed.counts += recorded.counts
    return recorded


def _call(connector: Connector, planned: Sequence[Planned]) -> tuple[list[Answer], RemoteError | None]:
    """Make these writes, as many in a request as the API takes; the answers, and why there were no more.

    Writes that were not made are answered with the reason: their intents are then taken back.
    """
    answers: list[Answer] = []
    stopped: RemoteError | None = None
    size = max(1, connector.capabilities.batch_size)
    enough_at = time.monotonic() + CALLS_S
    for start in range(0, len(planned), size):
        part = planned[start : start + size]
        if stopped is None and time.monotonic() > enough_at:
            stopped = NotNow(f"the calls of this batch took more than {CALLS_S:g} s", wait_s=0.1)
        if stopped is None:
            try:
                failpoints.hit("sync.before_write")
                ends = connector.write_many([plan.write for plan in part])
                failpoints.hit("sync.after_write")
            except STOPPING as error:
                stopped = error
                answers += [Answer(plan, error) for plan in part]
                continue
            answers += [Answer(plan, end) for plan, end in zip(part, ends, strict=True)]
            stopped = next((end for end in ends if isinstance(end, RateLimited | Unusable)), None)
        else:
            answers += [Answer(plan, stopped) for plan in part]
    return answers, stopped


def _resolve(scene: Scene, doubtful: Sequence[Entry], checkpoint: Checkpoint, pushed: Pushed) -> list[Entry]:
    """Read what became of writes whose answers were lost; which entities to look at again now."""

    def planned(connection: Connection) -> list[Planned]:
        known = links.by_local(connection, scene.pair, (entry.local_id or "" for entry in doubtful), lock=False)
        read_at = links.now(connection)
        return [planned_of(entry, known.get(entry.local_id or ""), read_at) for entry in doubtful]

    answers: list[Answer] = []
    again: list[Entry] = []
    in_doubt: list[Planned] = []
    for plan in checkpoint(planned):
        try:
            found, known = _look(scene.connector, plan)
        except RemoteError as error:
            if not isinstance(error, STOPPING):
                continue
            pushed.stopped = error
            break
        pushed.counts["resolved_by_reading"] += 1
        if not known:
            in_doubt.append(plan)
        elif found is not None:
            answers.append(Answer(plan, VersionMoved("read after a lost answer", current=found), read=True))
        elif plan.write.op == "create":
            # Not there: it is made under the same key, for the lost request may yet arrive.
            again.append(plan.entry)
        else:
            answers.append(Answer(plan, NotFound("read after a lost answer"), read=True))
    if in_doubt:
        checkpoint(lambda c: _doubt(c, scene, in_doubt))
    if answers:
        again += _record(scene, answers, checkpoint, pushed).again
    return again


def _look(connector: Connector, plan: Planned) -> tuple[Record | None, bool]:
    """The record that a write was for, and whether that can be known."""
    able = connector.capabilities
    if plan.write.op != "create":
        assert plan.write.remote_id is not None
        return connector.get(plan.write.remote_id), True
    if plan.write.remote_id is not None:
        return connector.get(plan.write.remote_id), True
    if able.finds_created and plan.write.idempotency_key is not None:
        return connector.find_created(plan.write.idempotency_key), True
    return None, able.idempotent_create


def _doubt(connection: Connection, scene: Scene, plans: Sequence[Planned]) -> None:
    """Nobody can tell whether these were made: a person must look, for a second try might make a second record."""
    outbox.reject(connection, [plan.entry for plan in plans])
    why = "the answer to its creation was lost, and this API cannot be asked what became of it: look there, then retry"
    rejects.store(
        connection,
        scene.pair,
        scene.run_id,
        [Reject(plan.entry.entity, "push", "in_doubt", why, plan.columns) for plan in plans],
    )


def _read_again(scene: Scene, entries: Sequence[Entry], checkpoint: Checkpoint, pushed: Pushed) -> None:
    """Records that somebody asked to be read: a webhook, a listing that was older than what is known."""
    if not entries:
        return
    read_at = checkpoint(links.now)
    read, done = Read(), []
    for entry in entries:
        assert entry.remote_id is not None
        try:
            record = scene.connector.get(entry.remote_id)
        except RemoteError as error:
            pushed.left += 1
            if isinstance(error, STOPPING):
                pushed.stopped = error
                break
            continue
        one = read_records(scene, [record or Record(entry.remote_id, {}, deleted=True)])
        read.seen += one.seen
        read.unfit += one.unfit
        done.append(entry)

    def take_in(connection: Connection) -> Counter[str]:
        # Done first: what is seen may ask for another reading of the same record, which must then stay.
        outbox.done(connection, done)
        return observe(connection, scene, read, read_at=read_at)

    pushed.counts += checkpoint(take_in)
