"""Image batches in this process: what was made, and what the rows and the folder say of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runstate.runs import Run
from runstate.statuses import RunStatus
from tasks import clients
from tasks.images.kind import IMAGE, IMAGE_BATCH
from tasks.images.manifest import Entry, manifest
from tasks.kinds import JobKind
from tests.integration.machinery import planned, query, run_of, work_off

SMALL = {"name": "small", "width": 80, "formats": ["jpeg", "webp"]}
LARGE = {"name": "large", "width": 120}


@dataclass(frozen=True, slots=True)
class Photos:
    """A root for originals and one for results."""

    root: Path
    dest: Path

    def run(self, sources: Any = None, variants: Any = (SMALL,), **more: Any) -> Run:
        """A batch from start to end; without ``sources`` of every PNG."""
        run_id = self.start(sources, variants, **more)
        return finished(IMAGE_BATCH, run_id)

    def start(self, sources: Any = None, variants: Any = (SMALL,), **more: Any) -> str:
        """A batch that is planned; its id."""
        given = {"sources": sources or f"{self.root}/**/*.png", "variants": list(variants), "dest": self.dest}
        return planned(IMAGE_BATCH, **(given | more))

    def run_one(self, source: Path, variants: Any = (SMALL,)) -> Run:
        """`process_image` from start to end."""
        return finished(IMAGE, planned(IMAGE, source=source, variants=list(variants), dest=self.dest))

    def entries(self) -> dict[str, Entry]:
        """The manifest, by the sources' file names."""
        with clients.engine().connect() as connection:
            return {Path(entry.source).name: entry for entry in manifest(connection, self.dest)}

    def files(self) -> dict[str, bytes]:
        """Every file of the destination, by its name within it."""
        return {str(path.relative_to(self.dest)): path.read_bytes() for path in self.dest.rglob("*") if path.is_file()}

    def check_whole(self) -> int:
        """Every row's file is there and has the bytes that the row says; how many rows there are."""
        rows = query("SELECT path, bytes, sha256 FROM image_variants")
        for path, size, sha256 in rows:
            content = (self.dest / path).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (size, sha256), path
        return len(rows)


def finished(kind: JobKind, run_id: str) -> Run:
    """Work a run off; it must complete."""
    work_off(kind, run_id)
    run = run_of(run_id)
    assert run.status is RunStatus.COMPLETED, run.reason
    return run


def counts(run: Run) -> dict[str, Any]:
    """A run's result without what is zero."""
    assert run.result is not None
    return {name: value for name, value in run.result.items() if value and name != "bytes"}


def letters(run: Run) -> dict[str, str]:
    """Error by file name of a run's dead letters."""
    rows = query("SELECT payload, error FROM dead_letters WHERE run_id = :r", r=run.run_id)
    import json

    return {Path(json.loads(payload)["source"]).name: error for payload, error in rows}
