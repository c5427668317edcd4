"""The long run of the sync: edits on both sides during runs, a tenth of the requests refused, workers killed; then both are equal.

``python -m bench.sync_converge [--edits 1000] [--seed 1] [--kills 20]``: a real Kinto behind nginx, which answers 503 to a tenth
of the requests, private MariaDB and Valkey, two sync workers under Supervisor.  Exit code 1 if any promise was not kept:

    writes stop within two rounds after the last edit, both sides are equal, every row has one link, and the last edit of each
    side of a field is there, or in the audit.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from stack.private import private_servers
from tests.cleaning import table_names
from tests.e2e.harness import Stack
from tests.e2e.sync_lab import SyncLab, stack_settings, sync_lab
from tests.kinto_server import kinto_server

POINTS = (
    "sync.before_write",
    "sync.after_write",
    "checkpoint.before_commit",
    "record.before_commit",
    "claim.after_commit",
    "perform.after",
)


def main() -> int:
    """Run, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="holdfast-converge-"))
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "FLOWER_URL", "IMPORT_ROOTS"):
        os.environ.pop(name, None)
    with private_servers(directory) as servers, kinto_server() as kinto:
        stack = Stack(servers, frozenset(table_names(servers)), directory / "var")
        try:
            stack.begin(stack_settings(kinto, directory / "failpoints"))
            with sync_lab(stack, kinto) as lab:
                return converge(lab, edits=options.edits, seed=options.seed, kills=options.kills)
        finally:
            stack.end()


def converge(lab: SyncLab, *, edits: int, seed: int, kills: int) -> int:
    rng = random.Random(seed)
    for n in range(100):
        lab.kinto.put("items", f"r{n:03}", name=f"n{n}", price="1.00", stock=n)
    lab.sync()
    lab.kinto.flaky()
    done = fired = rounds = 0
    began = time.monotonic()
    while done < edits:
        point = rng.choice(POINTS)
        if fired < kills:
            lab.failpoints.load(point, "kill")
        run_id = lab.start(allow_deletes=True)
        while lab.status(run_id) not in ("completed", "failed", "cancelled", "refused") and done < edits:
            lab.edit_randomly(rng, 5)
            done += 5
        lab.wait_ended(run_id, 300)
        fired += len(lab.failpoints.fired(point))
        lab.failpoints.unload(point)
        rounds += 1
    lab.kinto.calm()
    for _ in range(2):
        lab.sync(allow_deletes=True)
    refused = sum(seen.status == 503 for seen in lab.kinto.requests())
    asked = len(lab.kinto.requests())
    lab.kinto.forget_requests()
    lab.sync(allow_deletes=True)
    problems = []
    if lab.writes():
        problems.append(f"writes go on after two rounds: {lab.writes()[:5]}")
    if lab.local() != lab.remote():
        problems.append(f"differ: {lab.local() - lab.remote()} here, {lab.remote() - lab.local()} there")
    rows, linked = sum(lab.local().values()), lab.database.value("SELECT COUNT(*) FROM sync_links")
    if rows != linked:
        problems.append(f"{rows} rows, {linked} links")
    if left := lab.database.rows("SELECT entity, state FROM sync_outbox LIMIT 5"):
        problems.append(f"left in the outbox: {left}")
    print(
        f"{done} edits in {rounds} runs and {time.monotonic() - began:.0f} s (seed {seed}): {fired} workers killed, "
        f"{refused} of {asked} requests refused with 503; {rows} rows and records"
    )
    print("\n".join(problems) or "both sides equal, writes stopped, every row linked once")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
