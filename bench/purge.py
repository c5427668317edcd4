"""``python -m bench.purge``: a million old rows forgotten, while others admit, record and finish runs; how long they wait."""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, text

from runstate.purge import Keep
from runstate.transaction import in_transaction
from stack.private import private_servers

ROWS_A_RUN = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="old rows of jobs and of attempts together")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory,
        private_servers(Path(directory)) as servers,
    ):
        os.environ.update(servers.environment() | {"HOLDFAST_VAR": directory, "HOLDFAST_KINDS": "tests.kinds:FREE"})
        from runstate.engine import make_engine
        from runstate.migrate import migrate
        from tasks import clients
        from tasks.retention import batches
        from tests.integration.machinery import execute
        from tests.kinds import EFFECTS_TABLE

        migrate(make_engine(os.environ["DATABASE_URL"]))
        execute(EFFECTS_TABLE)
        runs = max(1, options.rows // 2 // ROWS_A_RUN)
        fill(runs)
        waits: list[float] = []
        stop = threading.Event()
        neighbour = threading.Thread(target=others, args=(waits, stop))
        neighbour.start()
        time.sleep(3)
        before, waits[:] = sorted(waits), []
        started = time.monotonic()
        forgotten = sum(batches("runs", Keep()))
        took_s = time.monotonic() - started
        during = sorted(waits)
        stop.set()
        neighbour.join()
        left = in_transaction(
            clients.engine(), lambda c: c.scalar(text("SELECT COUNT(*) FROM runs WHERE kind = 'old'"))
        )
        print(f"{forgotten} rows forgotten in {took_s:.1f} s ({forgotten / took_s:.0f}/s), {left} runs left")
        print("a neighbour's run (request, admit, plan, one job, record), in ms:   median     99 %      max")
        for name, times in (("before", before), ("meanwhile", during)):
            print(f"{name:>62} {at(times, 0.5):9.1f} {at(times, 0.99):8.1f} {at(times, 1):8.1f}   ({len(times)} runs)")


def fill(runs: int) -> None:
    """Runs that ended a year ago, with `ROWS_A_RUN` jobs and attempts each."""
    from tasks import clients

    started = time.monotonic()
    for number in range(runs):
        in_transaction(clients.engine(), partial(_old_run, run_id=f"00000000-0000-4000-8000-{number:012d}"))
    print(f"{runs} runs with {runs * ROWS_A_RUN * 2} rows made in {time.monotonic() - started:.0f} s", flush=True)


def _old_run(connection: Connection, run_id: str) -> None:
    for statement in (
        "INSERT INTO runs (run_id, kind, status, args, requested_at, requested_by, finished_at)"
        " VALUES (:r, 'old', 'completed', '{}', NOW(6) - INTERVAL 1 YEAR, 'bench', NOW(6) - INTERVAL 1 YEAR)",
        "INSERT INTO jobs (run_id, job_no, role, state, payload, due_at, result)"
        f" SELECT :r, seq, 'work', 'done', REPEAT('x', 200), NOW(6), '{{}}' FROM seq_1_to_{ROWS_A_RUN}",
        "INSERT INTO job_attempts (run_id, job_no, claim_no, worker, started_at, duration_ms, outcome)"
        f" SELECT :r, seq, 1, 'w@h', NOW(6), 5, 'done' FROM seq_1_to_{ROWS_A_RUN}",
    ):
        connection.execute(text(statement), {"r": run_id})


def others(waits: list[float], stop: threading.Event) -> None:
    """Whoever works meanwhile: a whole small run after another, timed."""
    from tests.integration.machinery import planned, work_off
    from tests.kinds import FREE

    while not stop.is_set():
        started = time.monotonic()
        work_off(FREE, planned(FREE, n=1))
        waits.append((time.monotonic() - started) * 1000)


def at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


if __name__ == "__main__":
    main()
