"""The push of one batch: entities are read, written and merged, round after round, until both sides agree on them.

An entry that has an intent when a batch begins was written by somebody whose answer is not recorded: it is read first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from tasks.sync import links, outbox
from tasks.sync.connector import Record, RemoteError
from tasks.sync.doubtful import resolve_doubtful
from tasks.sync.effects import Scene
from tasks.sync.observe import Read, observe, read_records
from tasks.sync.outbox import Entry
from tasks.sync.prepare import intent_of
from tasks.sync.writes import STOPPING, Checkpoint, write_parts

ROUNDS = 5
"""How often one batch merges again what moved while it was being written."""
SINGLY_FROM = 2
"""From this round on each write is a request of its own: a record that the API chokes on keeps back only itself."""


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
    for number in range(ROUNDS if merge_again else 1):
        if pushed.stopped is None and doubtful:
            resolved = resolve_doubtful(scene, doubtful, checkpoint)
            ready += resolved.again
            doubtful = []
            pushed.counts += resolved.counts
            pushed.stopped = resolved.stopped
        if pushed.stopped is not None or not ready:
            break
        singly = number >= SINGLY_FROM
        written = write_parts(scene, ready, checkpoint, deletes=deletes, merge_moved=merge_again, singly=singly)
        pushed.counts += written.counts
        pushed.stopped = written.stopped
        pushed.left += len(written.failed)
        ready = written.again
        doubtful = [replace(plan.entry, intent=intent_of(plan)) for plan in written.doubtful]
    pushed.left += len(ready) + len(doubtful)
    return pushed


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
