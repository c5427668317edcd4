"""A batch of generated pictures, and what it must come to whatever broke meanwhile; the kind with a short lease."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.images.kind import IMAGE_BATCH
from tasks.images.naming import content_of
from tasks.images.storage import INCOMING
from tests.e2e.faults_database import Database, Failpoints
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import Stack, wait_until
from tests.pictures import write_pictures

LEASE_S = 3
QUICK_IMAGES = replace(IMAGE_BATCH, name="quick_images", start_name="", lease_s=LEASE_S)
"""A lost claim is found after 3 s instead of 15."""

STUBBORN_IMAGES = replace(QUICK_IMAGES, name="stubborn_images", start_name="", max_crashes=50)
"""For runs that are killed fifty times: a healthy image could have bad luck three times."""

VARIANTS: list[dict[str, Any]] = [
    {"name": "small", "width": 120, "formats": ["jpeg", "webp"]},
    {"name": "square", "width": 90, "height": 90, "fit": "cover"},
]
ENCODINGS = 3
POINTS = ("images.written", "images.renamed", "images.before_record")


def stack_settings(var: Path, **more: str) -> dict[str, str]:
    """What a stack must be started with: two image workers, roots, failpoints."""
    return {
        "HOLDFAST_KINDS": f"{__name__}:QUICK_IMAGES,{__name__}:STUBBORN_IMAGES",
        "HOLDFAST_FAILPOINTS": str(var / "failpoints"),
        "HOLDFAST_IMPORTS_PROCESSES": "0",
        "HOLDFAST_IMAGES_PROCESSES": "2",
        "HOLDFAST_IMAGES_CONCURRENCY": "1",
        "IMAGE_ROOTS": str(var / "photos"),
        "IMAGE_DEST_ROOTS": str(var / "web"),
        **more,
    }


class ImageLab:
    """A stack, its database and failpoints, a producer, and folders for originals and results."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.database = Database(stack.servers)
        self.failpoints = Failpoints(Path(stack.environment["HOLDFAST_FAILPOINTS"]))
        self.producer = Producer(stack.environment)
        self.root = Path(stack.environment["IMAGE_ROOTS"])
        self.dest = Path(stack.environment["IMAGE_DEST_ROOTS"]) / "dest"
        for folder in (self.root, self.dest):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Take the shots out, end the producer."""
        self.failpoints.clear()
        self.producer.__exit__()

    def write(self, count: int, *, seed: int = 1, width: int = 320, height: int = 240) -> list[Path]:
        """So many pictures, a minute old."""
        paths = write_pictures(self.root, count, seed=seed, width=width, height=height)
        for path in paths:
            before = path.stat().st_mtime_ns - 60_000_000_123
            os.utime(path, ns=(before, before))
        return paths

    def start(self, kind: str = "quick_images", variants: list[dict[str, Any]] | None = None, **more: Any) -> str:
        """Start a batch of all that lies in the root; the run's id."""
        given = {"sources": f"{self.root}/**/*", "variants": variants or VARIANTS, "dest": str(self.dest)}
        return self.producer.start(kind, **(given | more))

    def wait_ended(self, run_id: str, timeout_s: float = 100.0) -> dict[str, Any]:
        """Wait until a run has ended; its row, the result as a dict."""
        ended = "SELECT finished_at IS NOT NULL FROM runs WHERE run_id = %s"
        wait_until(lambda: self.database.value(ended, run_id), timeout_s, f"run {run_id} to end")
        run = self.database.record("SELECT * FROM runs WHERE run_id = %s", run_id)
        run["result"] = json.loads(run["result"] or "{}")
        return run

    def run(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """A batch from start to end."""
        return self.wait_ended(self.start(*args, **kwargs))

    def jobs_done(self, run_id: str) -> int:
        """How many images are recorded."""
        return int(self.database.value("SELECT jobs_done FROM runs WHERE run_id = %s", run_id))

    def problems(self, images: int, encodings: int = ENCODINGS) -> list[str]:
        """What is not as promised: every image has all of its rows, every row's file is whole, no file is torn."""
        found = []
        sources = self.database.value("SELECT COUNT(*) FROM image_sources")
        if sources != images:
            found.append(f"{sources} sources, not {images}")
        rows = self.database.rows("SELECT path, bytes, sha256 FROM image_variants")
        if len(rows) != images * encodings:
            found.append(f"{len(rows)} variants, not {images * encodings}")
        for path, size, sha256 in rows:
            content = (self.dest / path).read_bytes() if (self.dest / path).is_file() else b""
            if (len(content), hashlib.sha256(content).hexdigest()) != (size, sha256):
                found.append(f"{path} is not what its row says")
        # A name holds the beginning of its bytes' hash, so a torn file shows even without a row.
        found += [f"{path} is torn" for path in self.named_files() if not _sha256(path).startswith(path.stem[-8:])]
        twice = "SELECT job_no FROM job_attempts WHERE outcome = 'done' GROUP BY run_id, job_no HAVING COUNT(*) > 1"
        found += [f"job {row[0]} was done twice" for row in self.database.rows(twice)]
        return found

    def named_files(self) -> list[Path]:
        """Files of the destination that have a name of their own."""
        files = [path for path in self.dest.rglob("*") if path.is_file() and INCOMING not in path.parts]
        assert all(content_of(str(path.relative_to(self.dest))) for path in files)
        return files

    def kill_child(self, rng: random.Random) -> int:
        """kill -9 of one worker's child; how many were there to be killed."""
        children = self.stack.children("images")
        for pid in rng.sample(children, min(1, len(children))):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return min(1, len(children))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
