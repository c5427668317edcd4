"""Holdfast's machinery and its kinds of job.

Producers: ``from tasks import start_import``, then ``start_import.delay(…)``; also `admit`, `start_many`, `start_task`.
"""

from __future__ import annotations

from typing import Any

_FROM_START = ("admit", "start_many", "start_task")
_OTHER_STARTS = ("process_image", "apply_plan", "receive_webhook")
"""Starts that are not called ``start_…``."""


def __getattr__(name: str) -> Any:
    # Only when asked for: a kind's ordinary modules can be imported without Celery, settings or servers.
    if name in _FROM_START:
        from tasks import start

        return getattr(start, name)
    # By name, for a submodule that is not imported yet is looked up here as well.
    if name.startswith("start_") or name in _OTHER_STARTS:
        from tasks.starts import START_TASKS

        if name in START_TASKS:
            return START_TASKS[name]
    raise AttributeError(f"module 'tasks' has no attribute {name!r}")
