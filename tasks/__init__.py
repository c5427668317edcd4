"""Holdfast's machinery and its kinds of job.

Producers: ``from tasks import start_import``, then ``start_import.delay(…)``; also `admit`, `start_many`, `start_task`.
"""

from __future__ import annotations

from typing import Any

_FROM_START = ("admit", "start_many", "start_task")


def __getattr__(name: str) -> Any:
    # Only when asked for: a kind's ordinary modules can be imported without Celery, settings or servers.
    if name in _FROM_START:
        from tasks import start

        return getattr(start, name)
    if name.startswith("start_"):
        from tasks.starts import START_TASKS

        if name in START_TASKS:
            return START_TASKS[name]
    raise AttributeError(f"module 'tasks' has no attribute {name!r}")
