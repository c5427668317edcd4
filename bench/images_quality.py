"""Where the engine's numbers come from: efforts of the encoders, when JPEGs may be decoded small, what deriving costs.

``python -m bench.images_quality [--photos 8]``

    efforts  WebP at 1440 × 1080 and AVIF at its cap of 2560: CPU per image, bytes, decibels, for each effort
    widths   PSNR of JPEGs at quality 82 against a full decoding that is resized (Lanczos 3): decoded small as the engine does,
             derived from a variant of 2000 pixels, and decoded in full, as the yardstick
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import images_tools

WIDTHS = (2000, 1900, 1600, 1440, 1000, 960, 800, 500, 480, 440, 400)


def main() -> int:
    """Print both tables, made in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.images_quality")
    parser.add_argument("--photos", type=int, default=8)
    photos = images_tools.photographs(parser.parse_args().photos, 4000, 3000)
    child = multiprocessing.get_context("spawn").Process(target=_tables, args=(photos,))
    child.start()
    child.join()
    return child.exitcode or 0


def _tables(photos: Sequence[Path]) -> None:
    import os

    os.environ["VIPS_CONCURRENCY"] = "1"
    _efforts(photos)
    _widths(photos)


def _efforts(photos: Sequence[Path]) -> None:
    import pyvips

    print(f"{'encoder':<10}{'effort':>7}{'CPU ms':>9}{'kB':>7}{'PSNR':>8}")
    for name, width, quality, efforts in (("webp", 1440, 80, range(7)), ("avif", 2560, 55, range(5))):
        images = [
            pyvips.Image.thumbnail(str(photo), width).copy_memory() for photo in photos[: 8 if name == "webp" else 2]
        ]
        for effort in efforts:
            began = time.process_time()
            made = [image.write_to_buffer(f".{name}", Q=quality, effort=effort, keep="none") for image in images]
            spent = (time.process_time() - began) / len(images)
            decibels = statistics.mean(
                _psnr(pyvips.Image.new_from_buffer(data, ""), image) for data, image in zip(made, images, strict=True)
            )
            size = statistics.mean(map(len, made))
            print(f"{name:<10}{effort:>7}{spent * 1000:>9.0f}{size / 1000:>7.0f}{decibels:>8.2f}", flush=True)


def _widths(photos: Sequence[Path]) -> None:
    import pyvips

    from tasks.images.picture import jpeg_shrink, resized

    print(f"{'width':>6}{'shrink':>8}{'in full':>9}{'small':>8}{'worst':>8}{'derived':>9}{'worst':>8}")
    for width in WIDTHS:
        size = (width, width * 3 // 4)
        shrink = jpeg_shrink((4000, 3000), size)
        rows = []
        for photo in photos:
            full = pyvips.Image.new_from_file(str(photo)).copy_memory()
            reference = resized(full, *size).copy_memory()
            small = resized(pyvips.Image.jpegload(str(photo), shrink=shrink), *size)
            base = resized(pyvips.Image.jpegload(str(photo), shrink=2), 2000, 1500).copy_memory()
            rows.append([_psnr(_encoded(image), reference) for image in (reference, small, resized(base, *size))])
        in_full, decoded_small, derived = zip(*rows, strict=True)
        worst = [min(a - b for a, b in zip(each, in_full, strict=True)) for each in (decoded_small, derived)]
        print(
            f"{width:>6}{shrink:>8}{statistics.mean(in_full):>9.2f}{statistics.mean(decoded_small):>8.2f}{worst[0]:>+8.2f}"
            f"{statistics.mean(derived):>9.2f}{worst[1]:>+8.2f}",
            flush=True,
        )


def _encoded(image: Any) -> Any:
    import pyvips

    return pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=82, keep="none"), "")


def _psnr(one: Any, other: Any) -> float:
    error = ((one - other) ** 2).avg()
    return 10 * math.log10(255 * 255 / error) if error else 99.0


if __name__ == "__main__":
    sys.exit(main())
