"""Made-up photographs as JPEG files: clouds of colour, edges and grain, the same for the same number.

``python -m examples.photographs FOLDER [--count N] [--size 1600x1200]`` writes some.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import pyvips


def write_photographs(
    folder: Path, count: int, *, width: int = 1600, height: int = 1200, quality: int = 90
) -> list[Path]:
    """Write ``photo-000.jpg`` and on, those that are not there yet; their paths.

    No two are alike, so that no two are one asset.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"photo-{number:03}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            part = path.with_suffix(".part")
            _photograph(number, width, height).jpegsave(str(part), Q=quality, keep="exif")
            # Readable for workers that run as another user; whole or not there.
            part.chmod(0o644)
            part.replace(path)
    return paths


def _photograph(number: int, width: int, height: int) -> Any:
    """Drawn at half the size, enlarged, and given grain: an enlargement alone would compress like none."""
    small = (math.ceil(width / 2), math.ceil(height / 2))
    clouds = sum(
        pyvips.Image.perlin(*small, cell_size=size, seed=number * 10 + place) * weight
        for place, (size, weight) in enumerate(((512, 0.6), (128, 0.25), (24, 0.15)))
    )
    light = (clouds + 1) / 2
    hue = number * 0.7
    bands = [light * (140 + 50 * math.sin(hue + band * 2)) + 40 for band in range(3)]
    edges = (pyvips.Image.worley(*small, cell_size=96, seed=number) / 96).linear([-60, -40, -20], [45, 30, 15])
    picture = bands[0].bandjoin(bands[1:]) + edges
    large = picture.resize(2, kernel="linear").crop(0, 0, width, height)
    grain = pyvips.Image.gaussnoise(width, height, sigma=6, mean=0, seed=number)
    made = (large + grain).cast("uchar").copy(interpretation="srgb").copy_memory()
    made.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Copyright", f"Holdfast example {number}")
    made.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Software", "examples.photographs")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.photographs", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=6, help="(default %(default)s)")
    parser.add_argument("--size", default="1600x1200", help="width × height in pixels (default %(default)s)")
    chosen = parser.parse_args()
    width, height = map(int, chosen.size.split("x"))
    write_photographs(chosen.folder, chosen.count, width=width, height=height)


if __name__ == "__main__":
    main()
