"""A kind of job for tests of the stack: each job says that it began, waits for a file, says that it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.kinds import Args, JobKind, Work


def _arguments(directory: str, jobs: int = 1) -> dict[str, Any]:
    return {"directory": directory, "jobs": jobs}


def _plan(args: Args) -> Iterator[int]:
    yield from range(args["jobs"])


def _perform(work: Work) -> dict[str, Any]:
    directory = Path(work.args["directory"])
    (directory / f"began-{work.payload}-{work.attempt}").touch()
    while not (directory / "go").exists():
        work.stop_if_asked()
        time.sleep(0.02)
    (directory / f"ended-{work.payload}").touch()
    return {}


PROBE = JobKind(name="probe", queue="imports", plan=_plan, perform=_perform, arguments=_arguments, lease_s=6)
