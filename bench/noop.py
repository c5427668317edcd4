"""Jobs a second of a kind that does nothing, against bare Celery tasks on the same pool, alternating in one run.

``python -m bench.noop [--jobs 3000] [--rounds 3] [--profile]``.  Timed from the first publish to the last completion,
publishing included, on private servers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from stack.private import private_servers

PROJECT = Path(__file__).resolve().parent.parent
CHILDREN = 2


def main() -> int:
    """Run the rounds and print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory,
        private_servers(Path(directory)) as servers,
    ):
        os.environ.update(
            servers.environment()
            | {"HOLDFAST_VAR": directory, "HOLDFAST_KINDS": "bench.noop_tasks:NOOP", "PYTHONPATH": str(PROJECT)}
        )
        workers = _workers(Path(directory))
        try:
            ratios = []
            for number in range(1, options.rounds + 1):
                bare, ours = _bare(options.jobs), _ours(options.jobs)
                ratios.append(ours / bare)
                print(f"round {number}: bare Celery {bare:6.0f}/s   Holdfast {ours:6.0f}/s   ratio {ours / bare:.2f}")
            print(f"median ratio {statistics.median(ratios):.2f}")
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.wait()
    return 0


def _workers(directory: Path) -> list[subprocess.Popen[bytes]]:
    celery = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "warning", "-E"]
    commands = [
        [*celery, "-Q", "control", "-n", "control@%h", "-c", "1", "-I", "bench.noop_tasks"],
        [*celery, "-Q", "imports", "-n", "imports@%h", "-c", str(CHILDREN), "-I", "bench.noop_tasks"],
        [sys.executable, "-m", "tasks.dispatcher"],
    ]
    processes = []
    for number, command in enumerate(commands):
        with open(directory / f"process{number}.log", "wb") as log:
            processes.append(subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT))
    return processes


def _bare(count: int) -> float:
    from bench.noop_tasks import bare, sentinel
    from tasks.clients import redis

    key = f"bench:{uuid.uuid4()}"
    sentinel.apply_async((key,), queue="imports")
    redis_client = redis()
    while not redis_client.llen(key):
        time.sleep(0.01)
    run_id = str(uuid.uuid4())
    started = time.monotonic()
    for number in range(count):
        bare.apply_async((run_id, number), queue="imports")
    for _ in range(CHILDREN):
        sentinel.apply_async((key,), queue="imports")
    while redis_client.llen(key) < 1 + CHILDREN:
        time.sleep(0.005)
    return count / (time.monotonic() - started)


def _ours(count: int) -> float:
    from tasks import start_noop

    started = time.monotonic()
    result = start_noop.delay(n=count)
    result.get(timeout=600, interval=0.05)
    return count / (time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
