"""A gallery: photographs in, a page with the right size for every screen out.

``python -m examples.gallery`` beside a running stack draws six photographs, has their variants made, and writes ``gallery.html``
beside these.  Again: nothing is made again.  Exit code 0 only if every photograph is there.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable
from pathlib import Path

from examples.photographs import write_photographs
from tasks import clients, start_image_batch
from tasks.images.manifest import Entry, manifest, srcset
from tasks.settings import settings

VARIANTS = [
    {"name": "small", "width": 480, "formats": ["webp", "jpeg"]},
    {"name": "large", "width": 1200, "formats": ["webp", "jpeg"]},
    {"name": "thumb", "width": 160, "height": 160, "fit": "cover", "focus": "attention"},
]
SCALED = ("small", "large")
PATIENCE_S = 120.0


def main() -> int:
    folder, dest = settings().image_roots[0] / "gallery", settings().image_dest_roots[0] / "gallery"
    write_photographs(folder, 6)

    result = start_image_batch.delay(f"{folder}/*.jpg", VARIANTS, dest=dest)
    result.wait(timeout=PATIENCE_S)
    run = result.run()
    print(f"run {run.run_id}: {run.status.value}, {run.result}")

    with clients.engine().connect() as connection:
        entries = sorted(manifest(connection, dest), key=lambda entry: entry.source)
    page = dest / "gallery.html"
    page.write_text(as_page(entries), encoding="utf-8")
    print(page)
    return 0 if len(entries) == 6 and run.jobs_dead == 0 else 1


def as_page(entries: Iterable[Entry]) -> str:
    """The page; the dominant colour stands where a photograph is not loaded yet."""
    return "<!doctype html>\n<title>Gallery</title>\n" + "\n".join(map(_as_picture, entries)) + "\n"


def _as_picture(entry: Entry) -> str:
    largest = entry.variants["large"]["jpeg"]
    return (
        f'<picture><source type="image/webp" srcset="{srcset(entry, "webp", names=SCALED)}">'
        f'<img srcset="{srcset(entry, "jpeg", names=SCALED)}" src="{largest.path}" width="{largest.width}"'
        f' height="{largest.height}" style="background: {largest.colour}" alt="{html.escape(Path(entry.source).stem)}"></picture>'
    )


if __name__ == "__main__":
    sys.exit(main())
