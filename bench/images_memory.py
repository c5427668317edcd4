"""Memory: 200 JPEGs of 24 megapixels to three widths in JPEG and WebP, by two engines with a decoder each.

``python -m bench.images_memory [--images 200] [--different 16]``

Peaks of the decoder process, as the kernel counts them per image (VmHWM), largest of all images.  A worker's child comes on top;
`bench.images_batch` measures both together through the whole job path.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import images_tools
from tasks.images.engine import Engine
from tasks.images.variants import Variant

ENCODINGS = [
    (Variant(f"w{w}", w, formats=("jpeg", "webp")), each) for w in (1920, 1280, 640) for each in ("jpeg", "webp")
]
BASELINE_MIB, PROGRESSIVE_MIB, CHILD_MIB = 256, 512, 90
"""The limits for a worker's child with its decoder, and what is left for the child."""


def main() -> int:
    """Print the peaks; 1 if one is beyond its limit."""
    parser = argparse.ArgumentParser(prog="python -m bench.images_memory")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--different", type=int, default=16, help="files, taken again and again")
    asked = parser.parse_args()
    failed = False
    for kind, limit in (("baseline", BASELINE_MIB), ("progressive", PROGRESSIVE_MIB)):
        photos = images_tools.photographs(asked.different, 6000, 4000, progressive=kind == "progressive")
        images = list(itertools.islice(itertools.cycle(photos), asked.images))
        with ThreadPoolExecutor(2) as workers:
            peaks = list(workers.map(_peak_mib, (images[0::2], images[1::2])))
        print(
            f"{kind:<12} {asked.images} images; peak of each decoder {' and '.join(f'{peak:.0f}' for peak in peaks)} MiB"
        )
        failed |= max(peaks) > limit - CHILD_MIB
    return 1 if failed else 0


def _peak_mib(images: Sequence[Path]) -> float:
    peak = 0
    with Engine() as engine:
        for image in images:
            with tempfile.TemporaryDirectory(prefix="images-memory-") as into:
                peak = max(peak, engine.render(image, ENCODINGS, Path(into)).decoder_memory_kb or 0)
    return peak / 1024


if __name__ == "__main__":
    sys.exit(main())
