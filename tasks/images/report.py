"""What operators see of an image batch: files made and left as they were, why images failed, what the destination holds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from tasks.images.manifest import hash_of_dest
from tasks.images.tables import image_sources, image_variants
from tasks.report import Figure, Report, RunSeen, Table


def batch_report(connection: Connection, seen: RunSeen) -> Report:
    """The run's counts, its failures by code, and a summary of the destination's manifest."""
    failed: Mapping[str, Any] = seen.totals.get("failed") or {}
    dest = str(seen.args["dest"])
    figures = seen.figures("found", "unchanged", "images", "encoded", "skipped", "changed")
    if "bytes" in seen.totals:
        figures.append(Figure("bytes written", seen.totals["bytes"]))
    if failed:
        figures.append(Figure("failed", sum(failed.values()), "bad"))
    tables = [_manifest(connection, dest)]
    if failed:
        by_code = sorted(failed.items(), key=lambda each: (-each[1], each[0]))
        tables.insert(0, Table("Images that failed, by reason", ("Code", "Images>"), by_code))
    quoted = shlex.quote(dest)
    todo = [f"Every source with its files: `python -m ops images manifest {quoted} --out manifest.json`"]
    return Report("Images", figures, tables, todo)


def _manifest(connection: Connection, dest: str) -> Table:
    """All that the destination holds, of this run and of those before it."""
    of = hash_of_dest(dest)
    files = image_variants.c
    sources = connection.scalar(select(func.count()).select_from(image_sources).where(image_sources.c.dest_hash == of))
    by_format = connection.execute(
        select(files.format, func.count(), func.sum(files.bytes)).where(files.dest_hash == of).group_by(files.format)
    ).all()
    rows = [(image_format, int(count), int(size)) for image_format, count, size in by_format]
    note = f"{sources or 0:,} sources in {dest}"
    return Table("What the destination holds", ("Format", "Files>", "Bytes>"), rows, note)
