"""The first step: find out what became of writes that were begun and never recorded."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.errors import Snooze
from tasks.kinds import Json, Work
from tasks.sync import outbox
from tasks.sync.effects import Scene
from tasks.sync.job_errors import HELD_WAIT_S
from tasks.sync.push import push
from tasks.sync.scenes import holding
from tasks.sync.steps.order import next_step


def settle(work: Work, scene: Scene) -> Mapping[str, Json]:
    """Read them before anything is listed: a record that one of them made must be linked, not taken for a new one."""
    with work.engine.connect() as connection:
        begun = outbox.begun(connection, scene.pair)
    if not begun or work.args["dry_run"]:
        next_step(work, None)
        return {}
    with holding(scene, begun) as (mine, others):
        pushed = push(scene, mine, work.checkpoint, deletes=False)
    if pushed.stopped is not None:
        raise pushed.stopped
    if others:
        raise Snooze(f"{len(others)} entities are being written by somebody else", delay_s=HELD_WAIT_S)
    next_step(work, None)
    return dict(pushed.counts)
