"""One batch of the outbox; what is left of it after an answer that says "later" waits, and the job comes back for it."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.errors import Retry, Snooze
from tasks.kinds import Json, Work
from tasks.sync import outbox
from tasks.sync.effects import Scene
from tasks.sync.job_errors import HELD_WAIT_S, answer_to
from tasks.sync.push import Pushed
from tasks.sync.push import push as push_entries
from tasks.sync.scenes import holding

LEFT_WAIT_S = 1.0
"""How long after a batch that came some way another job takes what is left."""


def push(work: Work, scene: Scene) -> Mapping[str, Json]:
    """Lock, read, write, record."""
    payload = work.payload
    with work.engine.connect() as connection:
        entries = outbox.between(connection, scene.pair, payload["after"], payload["upto"])
    if not entries:
        return {}
    with holding(scene, entries) as (mine, others):
        # Read again now that they are held: somebody may have written them between the look and the lock.
        with work.engine.connect() as connection:
            fresh = {e.id: e for e in outbox.between(connection, scene.pair, payload["after"], payload["upto"])}
        pushed = push_entries(scene, [fresh[e.id] for e in mine if e.id in fresh], work.checkpoint, deletes=True)
    return _after_push(work, pushed, held_elsewhere=len(others))


def _after_push(work: Work, pushed: Pushed, *, held_elsewhere: int) -> Mapping[str, Json]:
    """A batch that came some way is done, and another job takes what is left; one that came nowhere is tried again itself."""
    left = pushed.left + held_elsewhere
    if pushed.stopped is None and not left:
        return dict(pushed.counts)
    if pushed.stopped is not None:
        later = answer_to(pushed.stopped)
    elif pushed.left:
        later = Retry(f"{pushed.left} entities do not agree yet")
    else:
        later = Snooze(f"{held_elsewhere} entities are being written by somebody else", delay_s=HELD_WAIT_S)
    if not isinstance(later, Snooze | Retry) or not _came_some_way(pushed):
        raise later
    work.add_job(work.payload, due_in_s=(later.delay_s or 0.0) if isinstance(later, Snooze) else LEFT_WAIT_S)
    return dict(pushed.counts)


def _came_some_way(pushed: Pushed) -> bool:
    """Whether anything was done.  To have read once more what is still in doubt is nothing: a job that counted it as something
    would be followed by others for ever where the API never answers.
    """
    return any(number for name, number in pushed.counts.items() if name != "resolved_by_reading")
