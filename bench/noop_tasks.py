"""What `bench.noop` times: a bare Celery task, and a kind of job that does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.celery import app
from tasks.clients import redis
from tasks.kinds import JobKind


def plan(args: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """``n`` empty jobs."""
    for number in range(args["n"]):
        yield {"n": number}


NOOP = JobKind(name="noop", queue="imports", plan=plan, perform=lambda _work: None)


@app.task(name="bare")  # type: ignore[untyped-decorator]
def bare(run_id: str, job_no: int) -> None:
    """Nothing, with the arguments that a job message has."""


@app.task(name="sentinel")  # type: ignore[untyped-decorator]
def sentinel(key: str) -> None:
    """Say that everything before it in the queue was taken."""
    redis().lpush(key, "1")
