"""Five widths in three formats of one photograph of 24 megapixels: decoded once, against the same fifteen made by separate calls.

``python -m bench.images_variants [--images 6]``

Two sets of formats: the three of photographs (JPEG, WebP, AVIF), where encoding AVIF is most of the work, and JPEG, WebP, PNG.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from bench import images_tools
from tasks.images.engine import Engine
from tasks.images.variants import Variant

WIDTHS = (1280, 960, 640, 480, 320)
SETS = (("jpeg", "webp", "avif"), ("jpeg", "webp", "png"), ("jpeg", "webp"))


def main() -> int:
    """Print seconds per image both ways, in turns; 1 if decoding once is not twice as fast in the set without AVIF."""
    parser = argparse.ArgumentParser(prog="python -m bench.images_variants")
    parser.add_argument("--images", type=int, default=6)
    photos = images_tools.photographs(parser.parse_args().images, 6000, 4000)
    print(f"{'formats':<22}{'together s':>12}{'separate s':>12}{'ratio':>8}")
    ratios = {}
    with Engine() as engine, tempfile.TemporaryDirectory(prefix="images-variants-") as into:
        for formats in SETS:
            encodings = [(Variant(f"w{w}", w, formats=formats), each) for w in WIDTHS for each in formats]
            together = separate = 0.0
            engine.render(photos[0], encodings, Path(into))
            for photo in photos:
                began = time.perf_counter()
                engine.render(photo, encodings, Path(into))
                between = time.perf_counter()
                for encoding in encodings:
                    engine.render(photo, [encoding], Path(into))
                together, separate = together + between - began, separate + time.perf_counter() - between
            ratios[formats] = separate / together
            count = len(photos)
            print(f"{', '.join(formats):<22}{together / count:>12.2f}{separate / count:>12.2f}{ratios[formats]:>8.2f}")
    return 0 if ratios[("jpeg", "webp", "png")] >= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
