"""The start of every registered kind: ``from tasks import start_import``."""

from __future__ import annotations

from tasks.registry import kinds
from tasks.start import StartTask, start_task

START_TASKS: dict[str, StartTask] = {kind.starts_as: start_task(kind) for kind in kinds().values()}
