"""kill -9 while image variants are written, again and again: no torn file, no lost image, nothing made twice.

``python -m bench.images_soak [--kills 50] [--images 400] [--seed 1]``.  One batch on private servers with two workers.  In turns, a
worker's child dies with its files written, with their names given, or right before its record; or a child, a decoder, a worker or
the whole pool is killed wherever it is.  Then every row must have its whole file, every image its rows, a rerun must find nothing
to do, and a prune must leave no file without a row.  Exit code 1 if any of that does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.images_batch import _below
from bench.soak import _stack
from stack.private import private_servers
from tests.e2e.images import POINTS, ImageLab, stack_settings

WAYS = (*POINTS, "child", "decoder", "worker", "pool")


def main() -> int:
    """Break a batch so many times, then look at everything that was promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-soak-") as name:
        var = Path(name) / "var"
        with private_servers(Path(name)) as servers, _stack(servers, var) as stack:
            stack.begin(stack_settings(var))
            lab = ImageLab(stack)
            try:
                return _soak(lab, kills=options.kills, images=options.images, rng=random.Random(options.seed))
            finally:
                lab.close()


def _soak(lab: ImageLab, *, kills: int, images: int, rng: random.Random) -> int:
    lab.write(images)
    # Long enough that fifty kills find something to kill.
    lab.failpoints.load("perform.before", "delay 0.5", 2000)
    began = time.monotonic()
    run_id = lab.start("stubborn_images")
    struck: Counter[str] = Counter()
    while struck.total() < kills and lab.database.value(
        "SELECT finished_at IS NULL FROM runs WHERE run_id = %s", run_id
    ):
        way = WAYS[struck.total() % len(WAYS)]
        struck[way] += _strike(lab, way, rng)
        time.sleep(rng.uniform(0.1, 0.5))
    lab.failpoints.unload("perform.before")
    run = lab.wait_ended(run_id, timeout_s=600)
    problems = lab.problems(images)
    claims, crashes, lost = lab.database.row(
        "SELECT SUM(claims), SUM(crashes), SUM(lost_nodes) FROM jobs WHERE run_id = %s", run_id
    )
    if (run["status"], run["jobs_done"], run["jobs_dead"]) != ("completed", images, 0):
        problems.append(f"the run is {run['status']} with {run['jobs_done']} done and {run['jobs_dead']} dead")
    if struck.total() < kills:
        problems.append(f"only {struck.total()} kills before the run ended: give more --images")
    again = lab.run("stubborn_images")
    if (again["jobs_total"], again["result"]["unchanged"]) != (0, images):
        problems.append(f"the rerun made {again['jobs_total']} jobs")
    left = len([path for path in lab.dest.rglob("*") if path.is_file()]) - len(lab.named_files())
    pruned = lab.stack.run(
        "-m", "ops", "images", "prune", str(lab.dest), "--older-than", "0.001", "--reason", "soak"
    ).stdout.splitlines()[-1]
    rows = lab.database.value("SELECT COUNT(*) FROM image_variants")
    files = len([path for path in lab.dest.rglob("*") if path.is_file()])
    if files != rows:
        problems.append(f"after the prune there are {files} files and {rows} rows")
    print(f"{struck.total()} kills: {', '.join(f'{way} {times}' for way, times in struck.items())}")
    print(
        f"{images} images, {rows} variants; claims {claims}, crashes {crashes}, lost nodes {lost}; {time.monotonic() - began:.0f} s"
    )
    print(f"left by the killed: {left} files without a name; {pruned}")
    for problem in problems:
        print(f"    {problem}")
    print(f"{len(problems)} broken" if problems else "every promise kept")
    return 1 if problems else 0


def _strike(lab: ImageLab, way: str, rng: random.Random) -> int:
    """One kill; how many there were (0: nobody was there to be killed)."""
    if way in POINTS:
        lab.failpoints.load(way, "kill")
        lab.failpoints.wait_fired(way, timeout_s=60)
        return 1
    pids: Callable[[], list[int]] = {
        "child": lambda: lab.stack.children("images"),
        "decoder": lambda: [pid for child in lab.stack.children("images") for pid in _below(child)],
        "worker": lambda: lab.stack.pids("images"),
        "pool": list,
    }[way]
    if way == "pool":
        return int(bool(lab.stack.kill("images")))
    victims = rng.sample(found := pids(), min(1, len(found)))
    for victim in victims:
        below = _below(victim) if way == "worker" else []
        for pid in (victim, *below):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return len(victims)


if __name__ == "__main__":
    sys.exit(main())
