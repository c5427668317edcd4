"""A long-lived process that makes one JPEG, fitted inside 1920 × 1080 at quality 82, per line that it is sent.

``python bench/images_worker.py pillow | pillow-draft | pyvips`` in any Python that has the library; ``engine`` in ours.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

BOX = (1920, 1080)
QUALITY = 82


def pillow(*, draft: bool) -> Callable[[str, str], None]:
    from PIL import Image, ImageOps  # type: ignore[import-not-found]  # of another environment

    def make(source: str, into: str) -> None:
        with Image.open(source) as image:
            scale = min(BOX[0] / image.width, BOX[1] / image.height, 1)
            size = round(image.width * scale), round(image.height * scale)
            if draft:
                image.draft("RGB", size)
            # What ``thumbnail()`` would do, but that skips the draft at this size whether one wants it or not.
            resized = ImageOps.exif_transpose(image).resize(size, Image.Resampling.LANCZOS)
            resized.save(into, "JPEG", quality=QUALITY, optimize=True)

    return make


def pyvips() -> Callable[[str, str], None]:
    os.environ["VIPS_CONCURRENCY"] = "1"
    import pyvips as library

    library.cache_set_max(0)

    def make(source: str, into: str) -> None:
        image: Any = library.Image.thumbnail(source, BOX[0], height=BOX[1], size="down", fail_on="truncated")
        image.jpegsave(into, Q=QUALITY, optimize_coding=True, keep="none")

    return make


def engine() -> Callable[[str, str], None]:
    from pathlib import Path

    from tasks.images.engine import Engine
    from tasks.images.variants import Variant

    ours = Engine()
    variant = Variant("fit", *BOX, quality=QUALITY)

    def make(source: str, into: str) -> None:
        target = Path(into)
        (output,) = ours.render(Path(source), [(variant, "jpeg")], target.parent).outputs
        output.path.replace(target)

    return make


def main() -> None:
    makers = {
        "pillow": lambda: pillow(draft=False),
        "pillow-draft": lambda: pillow(draft=True),
        "pyvips": pyvips,
        "engine": engine,
    }
    make = makers[sys.argv[1]]()
    for line in sys.stdin:
        request = json.loads(line)
        make(request["source"], request["into"])
        print(json.dumps({"id": request["id"]}), flush=True)


if __name__ == "__main__":
    main()
