"""Image batches through the whole job path: images per second, what a rerun costs, memory.

``python -m bench.images_batch [--images 96] [--rounds 3] [--rerun 2000] [--memory] [--giants 200]``, and beside sharp and others:
``python -m bench.images_fit --turn 32 --plug bench.images_batch:contender``

    rate     JPEGs of 4000 × 3000 fitted inside 1920 × 1080 at quality 82, from ``.delay()`` to the run's end, two workers of one
             child each; beside it the engine alone in two processes, without runs, rows, fsyncs or names, in turns on the same
             files
    rerun    the same batch again, nothing changed: the planning's time per image, and no job
    memory   (with --memory) 200 baseline JPEGs of 6000 × 4000 to three widths in JPEG and WebP: the highest sum of a worker's child
             and its decoder, in resident pages that are theirs (PSS)
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import images_tools
from bench.images_contenders import Pair, cpu_s_of_tree
from bench.soak import _stack
from stack.private import private_servers
from tests.e2e.faults_database import Database
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import Stack, wait_until

FIT: list[dict[str, Any]] = [{"name": "fit", "width": 1920, "height": 1080, "quality": 82}]
THREE: list[dict[str, Any]] = [
    {"name": f"w{width}", "width": width, "formats": ["jpeg", "webp"]} for width in (480, 960, 1920)
]


class WholePath:
    """A private stack with two image workers; `run` does a batch from ``.delay()`` to its end."""

    def __init__(self, stack: Stack, photos: Path) -> None:
        self.stack = stack
        self.photos = photos
        self.dests = stack.var / "variants"
        stack.begin(
            {
                "HOLDFAST_IMPORTS_PROCESSES": "0",
                "HOLDFAST_IMAGES_PROCESSES": "2",
                "IMAGE_ROOTS": str(photos),
                "IMAGE_DEST_ROOTS": str(self.dests),
            }
        )
        self.database = Database(stack.servers)
        self.producer = Producer(stack.environment)

    def close(self) -> None:
        self.producer.__exit__()

    def run(self, sources: list[Path], variants: list[dict[str, Any]], dest: str) -> tuple[float, dict[str, Any]]:
        """Seconds from the call of ``.delay()`` to the run's end, and its row."""
        began = time.monotonic()
        run_id = self.producer.start(
            "image_batch", sources=[str(path) for path in sources], variants=variants, dest=str(self.dests / dest)
        )
        ended = "SELECT finished_at IS NOT NULL FROM runs WHERE run_id = %s"
        wait_until(lambda: self.database.value(ended, run_id), 3600, "the batch")
        took = time.monotonic() - began
        run = self.database.record("SELECT * FROM runs WHERE run_id = %s", run_id)
        assert (run["status"], run["jobs_dead"]) == ("completed", 0), run["reason"]
        return took, run

    def fresh(self, sources: list[Path], variants: list[dict[str, Any]] = FIT) -> float:
        """Seconds for a batch into an empty destination."""
        shutil.rmtree(self.dests / "fresh", ignore_errors=True)
        # The rows of the last time point to files that are gone: they would be made again all the same, by one lookup more.
        for table in ("image_variants", "image_sources", "image_assets"):
            self.database.rows(f"DELETE FROM {table}")
        took, run = self.run(sources, variants, "fresh")
        assert run["jobs_done"] == len(sources)
        return took


@contextmanager
def whole_path(photos: Path) -> Iterator[WholePath]:
    """Servers and workers of their own, gone at the end.  For example ``with whole_path(folder) as path: path.fresh(files)``."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        directory = Path(name)
        with private_servers(directory) as servers, _stack(servers, directory / "var") as stack:
            path = WholePath(stack, photos.resolve())
            try:
                yield path
            finally:
                path.close()


class _Batches:
    """A contender of `bench.images_fit`: each turn is a batch of its own, from ``.delay()`` to its end."""

    name = "holdfast, whole job path"

    def __init__(self) -> None:
        self._open = ExitStack()
        self._path: WholePath | None = None
        self._turns = 0

    def run(self, pairs: Sequence[Pair]) -> None:
        if self._path is None:
            self._path = self._open.enter_context(whole_path(pairs[0][0].parent))
        self._turns += 1
        dest = f"turn-{self._turns}"
        self._path.run([original for original, _ in pairs], FIT, dest)
        rows = self._path.database.rows(
            "SELECT s.source, v.path FROM image_sources s JOIN image_variants v USING (dest_hash, content_hash)"
            " JOIN image_dests d USING (dest_hash) WHERE d.path = %s",
            str(self._path.dests / dest),
        )
        made = dict(rows)
        for original, result in pairs:
            os.link(self._path.dests / dest / made[str(original)], result)

    def cpu_s(self) -> float:
        """Of workers, their decoders, dispatchers and both servers: of all that a batch needs."""
        if self._path is None:
            return 0.0
        stack = self._path.stack
        programs = [pid for group in ("images", "control", "dispatcher") for pid in stack.pids(group)]
        servers = [stack.servers.mariadb.pid, stack.servers.valkey.pid]
        return sum(map(cpu_s_of_tree, [*programs, *servers]))

    def close(self) -> None:
        self._open.close()


def contender() -> _Batches:
    """For ``bench.images_fit --plug``."""
    return _Batches()


_ALONE = """
import sys, time
from pathlib import Path
from tasks.images.engine import Engine
from tasks.images.variants import Variant
from bench.images_batch import FIT
variants = [(Variant.of_json(v), f) for v in FIT for f in v.get("formats", ["jpeg"])]
into = Path(sys.argv[1]); into.mkdir(parents=True, exist_ok=True)
with Engine() as engine:
    files = [Path(name) for name in sys.argv[2:]]
    engine.render(files[0], variants, into)
    print("ready", flush=True)
    sys.stdin.readline()
    for path in files:
        engine.render(path, variants, into, probed=engine.probe(path))
"""


def engine_alone(files: list[Path]) -> float:
    """Seconds for the engine in two processes, started and warm before."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as into:
        halves = [
            subprocess.Popen(
                [sys.executable, "-c", _ALONE, f"{into}/{half}", *map(str, files[half::2])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for half in (0, 1)
        ]
        for process in halves:
            assert process.stdout is not None
            process.stdout.readline()
        began = time.monotonic()
        for process in halves:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.close()
        for process in halves:
            assert process.wait() == 0
        return time.monotonic() - began


class PeakMemory:
    """Samples each image worker's child with its descendants; ``peak_kb`` is the highest sum of one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._over = threading.Event()
        self.peak_kb = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        children: list[int] = []
        looked = 0.0
        while not self._over.wait(0.02):
            if time.monotonic() - looked > 2:
                children, looked = self._stack.children("images"), time.monotonic()
            for child in children:
                self.peak_kb = max(self.peak_kb, _pss_kb(child) + sum(map(_pss_kb, _below(child))))


def _below(pid: int) -> list[int]:
    try:
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [below for child in found for below in _below(child)]


def _pss_kb(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def main() -> int:
    """Print the figures; 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rerun", type=int, default=2000, help="images of the rerun")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--giants", type=int, default=200, help="images for --memory")
    options = parser.parse_args()
    if options.memory:
        return memory(options.giants)
    missed = rate(options.images, options.rounds)
    return missed + rerun(options.rerun)


def rate(images: int, rounds: int) -> int:
    files = images_tools.photographs(images, 4000, 3000)
    with whole_path(files[0].parent) as path:
        path.fresh(files[: min(8, images)])
        path_s, alone_s = [], []
        for _ in range(rounds):
            path_s.append(path.fresh(files))
            alone_s.append(engine_alone(files))
            print(
                f"    whole path {images / path_s[-1]:6.2f} images/s   engine alone {images / alone_s[-1]:6.2f}",
                flush=True,
            )
    whole, alone = images / statistics.median(path_s), images / statistics.median(alone_s)
    print(f"{images} JPEGs of 4000 × 3000 inside 1920 × 1080, q82, two workers; medians of {rounds}")
    print(f"whole job path  {whole:6.2f} images/s")
    print(f"engine alone    {alone:6.2f} images/s   (the path reaches {whole / alone:.2f} of it)")
    return 0


def rerun(images: int) -> int:
    files = images_tools.photographs(images, 64, 48)
    with whole_path(files[0].parent) as path:
        _, first = path.run(files, THREE, "rerun")
        took, again = path.run(files, THREE, "rerun")
        (plan_ms,) = path.database.row(
            "SELECT duration_ms FROM job_attempts WHERE run_id = %s AND job_no = 0", again["run_id"]
        )
    each_ms = plan_ms / images
    print(
        f"rerun of {images} unchanged images with 6 variants each: {again['jobs_total']} jobs, planning {plan_ms} ms,"
    )
    print(
        f"    {each_ms:.3f} ms an image (target: under 2), {took:.2f} s from .delay() to the end; first: {first['jobs_done']} jobs"
    )
    return int(again["jobs_total"] != 0 or each_ms >= 2)


def memory(images: int) -> int:
    files = images_tools.photographs(images, 6000, 4000)
    with whole_path(files[0].parent) as path, PeakMemory(path.stack) as peak:
        took = path.fresh(files, THREE)
    print(
        f"{images} baseline JPEGs of 6000 × 4000 to three widths in JPEG and WebP, two workers: {images / took:.2f} images/s,"
        f" peak of a worker's child with its decoder {peak.peak_kb / 1024:.0f} MiB (target: under 256)"
    )
    return int(peak.peak_kb >= 256 * 1024)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
