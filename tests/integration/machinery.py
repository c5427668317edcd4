"""The machinery in this process, on real servers: a worker that is a function call."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from runstate import runs
from runstate.runs import Run
from runstate.transaction import in_transaction
from tasks import clients
from tasks.admission import admit_run
from tasks.envelope import Performed, run_jobs
from tasks.kinds import JobKind
from tasks.requests import make_request, write_request


def request(kind: JobKind, /, **kwargs: Any) -> str:
    """Write a start down; the run's id."""
    return write_request(make_request(kind, (), kwargs)).run_id


def admitted(kind: JobKind, /, **kwargs: Any) -> str:
    """A run that has been admitted; its id."""
    run_id = request(kind, **kwargs)
    admit_run(kind, run_id)
    return run_id


def planned(kind: JobKind, /, **kwargs: Any) -> str:
    """A run that has been planned; its id."""
    run_id = admitted(kind, **kwargs)
    run_jobs(kind, run_id, 0, "test")
    return run_id


def run_of(run_id: str) -> Run:
    """A fresh snapshot."""
    return in_transaction(clients.engine(), lambda c: runs.get(c, run_id))


def queued(run_id: str) -> list[int]:
    """The jobs that are out."""
    return [
        row[0]
        for row in query("SELECT job_no FROM jobs WHERE run_id = :r AND state = 'queued' ORDER BY job_no", r=run_id)
    ]


def work_off(kind: JobKind, run_id: str, *, rounds: int = 1000) -> list[Performed]:
    """Do what is out, as a worker would, until nothing is out any more."""
    done: list[Performed] = []
    for _ in range(rounds):
        waiting = queued(run_id)
        if not waiting:
            return done
        done += run_jobs(kind, run_id, waiting[0], "test")
    raise AssertionError(f"run {run_id} has not come to rest in {rounds} rounds")


def query(statement: str, **values: Any) -> list[Any]:
    """Rows of a statement, in a transaction of its own."""
    return in_transaction(clients.engine(), lambda c: list(c.execute(text(statement), values)))


def execute(statement: str, **values: Any) -> None:
    """Run a statement and commit."""
    in_transaction(clients.engine(), lambda c: c.execute(text(statement), values) and None)


def job(run_id: str, job_no: int) -> Any:
    """A job's row."""
    return query("SELECT * FROM jobs WHERE run_id = :r AND job_no = :n", r=run_id, n=job_no)[0]
