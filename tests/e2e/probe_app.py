"""A bare Celery app with the project's settings, for tests of the settings themselves."""

from __future__ import annotations

import time
from pathlib import Path

from celery import Celery

app = Celery("probe")
app.config_from_object("celeryconfig")


@app.task(name="hold")  # type: ignore[untyped-decorator]
def hold(directory: str) -> None:
    """Say that it began, then wait for the file ``go``."""
    (Path(directory) / "holding").touch()
    while not (Path(directory) / "go").exists():
        time.sleep(0.02)


@app.task(name="mark")  # type: ignore[untyped-decorator]
def mark(directory: str, number: int) -> None:
    """Leave a file."""
    (Path(directory) / f"mark-{number}").touch()
