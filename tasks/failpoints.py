"""Named places where a test can make a process die, stop, wait, fail, or lose its connection.  Free when off.

``HOLDFAST_FAILPOINTS`` names a directory.  A file ``<point>.<n>`` in it is one shot, its text the action: ``kill``, ``stop``,
``delay SECONDS``, ``raise``, ``cut`` (close the database connection under the transaction).  Whoever renames the file away
fires it, so a shot fires once across all processes; the fired file keeps the process id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

POINTS: Final = (
    "start.before_publish",
    "admission.locked",
    "admission.before_commit",
    "admission.after_commit",
    "plan.batch",
    "claim.before_commit",
    "claim.after_commit",
    "checkpoint.before_commit",
    "perform.before",
    "perform.after",
    "email.before_data",
    "email.after_data",
    "sync.before_write",
    "sync.after_write",
    "record.before_commit",
    "record.after_commit",
    "publish.before",
    "dispatch.before_publish",
    "reap.before_commit",
    "replay.before_commit",
    "recover.before_commit",
    "images.written",
    "images.renamed",
    "images.before_record",
)

_directory = os.environ.get("HOLDFAST_FAILPOINTS")


class FailpointRaised(RuntimeError):
    """What the action ``raise`` raises: an exception that nobody knows."""


def hit(point: str, connection: Connection | None = None) -> None:
    """Fire the next shot loaded for ``point``, if there is one."""
    if _directory is None:
        return
    action = _take(Path(_directory), point)
    if action is None:
        return
    word, _, argument = action.partition(" ")
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif word == "delay":
        time.sleep(float(argument))
    elif word == "cut" and connection is not None:
        driver = connection.connection.driver_connection
        with contextlib.suppress(OSError):
            driver._sock.shutdown(2)  # type: ignore[union-attr]
    else:
        raise FailpointRaised(f"failpoint {point}: {action}")


def _take(directory: Path, point: str) -> str | None:
    for shot in sorted(directory.glob(f"{point}.*")):
        if shot.name.endswith(".fired"):
            continue
        fired = shot.with_name(f"{shot.name}.{os.getpid()}.fired")
        with contextlib.suppress(FileNotFoundError):
            shot.rename(fired)
            return fired.read_text(encoding="utf-8").strip()
    return None
