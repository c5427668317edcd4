"""Kinds of job for fault tests: the import with a short lease, jobs that hold their run open, jobs that misbehave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from tasks.imports.kind import IMPORT
from tasks.kinds import Args, Backoff, JobKind, Work

LEASE_S = 3
"""The shortest that a kind may have: a lost claim is found after 3 s instead of 15."""

QUICK_IMPORT = replace(IMPORT, name="quick_import", start_name="", lease_s=LEASE_S)

STUBBORN_IMPORT = replace(QUICK_IMPORT, name="stubborn_import", start_name="", max_crashes=20)
"""For runs that are killed fifty times: a healthy job could have bad luck three times."""

STALE_AFTER_S = 2
HASTY_IMPORT = replace(QUICK_IMPORT, name="hasty_import", start_name="", stale_after_s=STALE_AFTER_S)

SLOW = Backoff(max_attempts=3, base_s=0.1, cap_s=0.2)


def _plan(args: Args) -> Iterator[Any]:
    yield from args["jobs"]


def _hold(work: Work) -> dict[str, Any]:
    """Leave one row once the file ``go`` is there."""
    go = Path(work.args["directory"]) / "go"
    while not go.exists():
        work.stop_if_asked()
        time.sleep(0.02)
    _leave_a_row(work)
    return {}


def _misbehave(work: Work) -> dict[str, Any]:
    """What the payload names; then one row."""
    do: Mapping[str, Any] = work.payload
    if do.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if do.get("exit"):
        raise SystemExit(7)
    if do.get("hang_s"):
        _hang(do["hang_s"], deaf=bool(do.get("deaf")))
    memory = b"x" * (do.get("megabytes", 0) * 1024 * 1024)
    _leave_a_row(work)
    return {"pid": os.getpid(), "megabytes": len(memory) // 1024 // 1024}


def _hang(seconds: float, *, deaf: bool) -> None:
    """Never ask whether to stop; ``deaf``: not even hear Celery's soft time limit, which comes as SIGUSR1."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN) if deaf else None
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
    if deaf:
        signal.signal(signal.SIGUSR1, before)


def _leave_a_row(work: Work) -> None:
    def effects(connection: Connection) -> None:
        connection.execute(
            text("INSERT INTO effects (run_id, job_no) VALUES (:run_id, :job_no)"),
            {"run_id": work.run_id, "job_no": work.job_no},
        )

    work.on_record(effects)


EFFECTS_TABLE = "CREATE TABLE IF NOT EXISTS effects (run_id CHAR(36), job_no BIGINT)"
"""No unique key: a job that is applied twice shows."""

HOLDING = JobKind(
    name="holding",
    queue="imports",
    plan=_plan,
    perform=_hold,
    admission_key=lambda args: str(args.get("key", "k")),
    lease_s=LEASE_S,
)
HOSTILE = JobKind(
    name="hostile", queue="imports", plan=_plan, perform=_misbehave, backoff=SLOW, lease_s=LEASE_S, timeout_s=2
)
FRAGILE = replace(HOSTILE, name="fragile", start_name="", max_crashes=1)
ALL = ",".join(
    f"{__name__}:{kind}"
    for kind in ("QUICK_IMPORT", "STUBBORN_IMPORT", "HASTY_IMPORT", "HOLDING", "HOSTILE", "FRAGILE")
)
