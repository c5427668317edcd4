"""Beat's scheduler with the alerts beside it: what ``celery -A tasks beat`` runs."""

from __future__ import annotations

from typing import Any

from ops.alerts.watcher import Watcher
from tasks.beat import RunScheduler


class WatchingScheduler(RunScheduler):
    """Starts the watcher with the schedules, and stops it with beat."""

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self._watcher = Watcher()
        self._watcher.start()

    def close(self, *args: Any, **kwargs: Any) -> None:
        self._watcher.stop()
        super().close(*args, **kwargs)
