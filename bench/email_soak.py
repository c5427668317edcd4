"""Campaigns whose workers are killed fifty times: no recipient twice, none missing, but those reported in doubt.

``python -m bench.email_soak [--kills 50] [--recipients 400] [--workers 3] [--seed 1]``.  One campaign after another, until so many
kills have struck: at each phase of a message by failpoints, and at random moments children, workers, the whole pool.  Exit
code 1 if a recipient got two messages, was said to be sent to and was not, or is left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from stack.private import private_servers
from tests.cleaning import table_names
from tests.e2e.email_lab import EmailLab, email_lab, stack_settings
from tests.e2e.harness import Stack
from tests.email_server import free_port

POINTS = (
    "claim.after_commit",
    "checkpoint.before_commit",
    "email.before_data",
    "email.after_data",
    "perform.after",
    "record.before_commit",
    "record.after_commit",
)
WAYS = (*POINTS, *POINTS, "child", "worker", "pool")


def main() -> int:
    """Kill, and judge each campaign."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--recipients", type=int, default=400)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "FLOWER_URL", "IMPORT_ROOTS"):
        os.environ.pop(name, None)
    kills: Counter[str] = Counter()
    broken = 0
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-soak-") as directory,
        private_servers(Path(directory)) as servers,
    ):
        port, var = free_port(), Path(directory) / "var"
        stack = Stack(servers, frozenset(table_names(servers)), var)
        try:
            stack.begin(stack_settings(port, var / "failpoints", HOLDFAST_EMAIL_PROCESSES=str(options.workers)))
            with email_lab(stack, port) as lab:
                number = 0
                while kills.total() < options.kills:
                    number += 1
                    broken += not _campaign(lab, f"soak {number}", options.recipients, options.kills, kills, rng)
        finally:
            stack.end()
    print(f"{kills.total()} kills: {dict(sorted(kills.items()))}")
    print(f"{broken} campaigns broken" if broken else "no recipient twice, none missing, but those in doubt")
    return 1 if broken else 0


def _campaign(lab: EmailLab, name: str, recipients: int, most: int, kills: Counter[str], rng: random.Random) -> bool:
    lab.server.taken.clear()
    before = kills.total()
    began = time.monotonic()
    # Slow enough to be struck often, in large flights and in small ones.
    rates = rng.choice([["40/s"], ["15/s"], ["200/s"]])
    run_id = lab.start(name, recipients, batch_size=10, rates=rates, max_in_flight=rng.choice([1, 4, 20]))
    while lab.status(run_id) not in ("completed", "failed", "cancelled"):
        if kills.total() < most:
            _kill(lab, rng.choice(WAYS), kills)
            sent = len(lab.server.taken) + rng.randrange(1, 30)
            deadline = time.monotonic() + 10
            while len(lab.server.taken) < sent and time.monotonic() < deadline:
                time.sleep(0.02)
        else:
            lab.failpoints.clear()
            time.sleep(0.1)
        assert time.monotonic() - began < 600, f"{name} does not end: {lab.status(run_id)}"
    lab.failpoints.clear()
    found = lab.outcome(name, recipients)
    fine = not found.problems and lab.status(run_id) == "completed"
    took_s, struck = time.monotonic() - began, kills.total() - before
    print(f"{name}: {struck} kills, {dict(found.states)}, {took_s:.0f} s, {'kept' if fine else 'BROKEN'}", flush=True)
    for problem in found.problems:
        print(f"    {problem}")
    return fine


def _kill(lab: EmailLab, way: str, kills: Counter[str]) -> None:
    stack = lab.stack
    if way in POINTS:
        lab.failpoints.load(way, "kill")
        deadline = time.monotonic() + 5
        while not lab.failpoints.fired(way) and time.monotonic() < deadline:
            time.sleep(0.02)
        lab.failpoints.unload(way)
        kills[way] += len(lab.failpoints.fired(way))
    elif way == "child":
        kills[way] += bool(stack.kill_children("email"))
    elif way == "worker":
        kills[way] += bool(stack.kill_mains("email"))
    else:
        kills[way] += bool(stack.kill("email"))


if __name__ == "__main__":
    sys.exit(main())
