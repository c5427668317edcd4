"""Kinds of job for tests: what a job does is said by its payload."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from tasks.errors import FailRun, Permanent, ResourceTrouble, Retry, Snooze
from tasks.kinds import Backoff, JobKind, Work

EFFECTS_TABLE = "CREATE TABLE IF NOT EXISTS effects (run_id CHAR(36), job_no BIGINT, note VARCHAR(100))"
"""No unique key: a job that is applied twice shows."""


def plan(args: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """``n`` jobs, each with the payload ``do`` (a dict), or the payloads of ``jobs``; ``plan_error`` raises."""
    if args.get("plan_error"):
        raise Permanent(args["plan_error"])
    yield from args.get("jobs", ())
    yield from ({"note": name} for name in args.get("names", ()))
    for _ in range(args.get("n", 0)):
        yield dict(args.get("do", {}))
    return {"planned_by": os.getpid()}  # type: ignore[return-value]


def perform(work: Work) -> dict[str, Any]:
    """Do what the payload says, and leave one row in ``effects``."""
    do = work.payload
    if (seconds := do.get("sleep_s")) is not None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            work.stop_if_asked()
            time.sleep(0.02)
    while (path := do.get("until")) is not None and not Path(path).exists():
        work.stop_if_asked()
        time.sleep(0.02)
    if work.attempt <= do.get("fails", 0):
        _raise(do.get("error", "value"), do)
    if (hog_mb := do.get("hog_mb")) is not None:
        bytearray(hog_mb * 1024 * 1024)
    if do.get("kill_self"):
        os.kill(os.getpid(), signal.SIGKILL)

    def effects(connection: Connection) -> dict[str, Any]:
        connection.execute(
            text("INSERT INTO effects (run_id, job_no, note) VALUES (:run_id, :job_no, :note)"),
            {"run_id": work.run_id, "job_no": work.job_no, "note": do.get("note")},
        )
        if do.get("effects_fail"):
            raise ValueError("the effects failed")
        return {"fail_run": do["fail_run"]} if do.get("fail_run") else {"seen": 1}

    work.on_record(effects)
    for further in do.get("further", ()):
        work.add_job(further, due_in_s=further.get("due_in_s", 0.0))
    return {"attempt": work.attempt}


def _raise(word: str, do: Mapping[str, Any]) -> None:
    message = do.get("message", f"{word} it is")
    if word == "permanent":
        raise Permanent(message)
    if word == "snooze":
        raise Snooze(message, delay_s=do.get("delay_s", 0.05))
    if word == "retry":
        raise Retry(message, not_before_s=do.get("delay_s", 0.0))
    if word == "resource":
        raise ResourceTrouble(message)
    if word == "fail_run":
        raise FailRun(message)
    if word == "exit":
        raise SystemExit(message)
    raise ValueError(message)


def finish(work: Work) -> dict[str, Any]:
    """How many jobs were done."""
    return {"done": sum(result["seen"] for result in work.job_results())}


def _key(args: Mapping[str, Any]) -> str:
    return str(args.get("key", "k"))


FAST = Backoff(max_attempts=3, base_s=0.01, cap_s=0.02)
KEYED = JobKind(
    name="keyed",
    queue="imports",
    plan=plan,
    perform=perform,
    admission_key=_key,
    backoff=FAST,
    lease_s=3,
    window=4,
    timeout_s=60,
)
FINISHING = JobKind(
    name="finishing",
    queue="imports",
    plan=plan,
    perform=perform,
    finish=finish,
    admission_key=_key,
    spooled=("names",),
    describe_start=lambda args: f"{len(args.get('names', ()))} names",
    backoff=FAST,
    lease_s=3,
)
FREE = JobKind(name="free", queue="email", plan=plan, perform=perform, backoff=FAST, lease_s=3, timeout_s=3)
BRITTLE = JobKind(
    name="brittle",
    queue="imports",
    plan=plan,
    perform=perform,
    admission_key=_key,
    backoff=FAST,
    lease_s=3,
    timeout_s=60,
    stale_after_s=4,
)
"""Stale after four seconds without a sign of life."""
ALL = "tests.kinds:KEYED,tests.kinds:FINISHING,tests.kinds:FREE,tests.kinds:BRITTLE"
