"""Makes images for the tests, and looks at what came out of them: in a process of its own, for libvips must not be in ours.

``with Lab() as lab: lab.make(folder); lab.look(path)``
"""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

Pixel = tuple[int, ...]


class Lab:
    """A process with libvips in it."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def make(self, folder: Path) -> None:
        """All samples, into ``folder``."""
        self._pool.submit(make, folder).result()

    def look(self, path: Path) -> dict[str, Any]:
        """width, height (of a frame), bands, frames, delays, loop, fields, and the pixels at the corners of each frame."""
        return self._pool.submit(look, path).result()

    def delta_e(self, path: Path, reference: Path) -> tuple[float, float]:
        """Mean and 99th percentile of CIEDE2000 between two images of one size."""
        return self._pool.submit(delta_e, path, reference).result()

    def psnr(self, path: Path, reference: Path) -> float:
        """Decibels between two images of one size."""
        return self._pool.submit(psnr, path, reference).result()


def make(folder: Path) -> None:
    import pyvips

    kinds = pyvips.GValue
    field = pyvips.Image.xyz(400, 300)
    rgb = (field[0] / 400 * 255).bandjoin([field[1] / 300 * 255, 128]).cast("uchar").copy(interpretation="srgb")

    def tagged(image: Any, **values: Any) -> Any:
        image = image.copy()
        for name, value in values.items():
            kind = {int: kinds.gint_type, str: kinds.gstr_type, list: kinds.array_int_type}[type(value)]
            image.set_type(kind, name.replace("__", "-"), value)
        return image

    def save(image: Any, name: str, **options: Any) -> None:
        image.write_to_file(str(folder / name), **options)

    for name in ("rgb.jpg", "rgb.png", "rgb.webp", "rgb.tif", "rgb.gif"):
        save(rgb, name)
    save(rgb, "rgb.avif", effort=0)
    save(rgb, "progressive.jpg", interlace=True)
    save(rgb, "interlaced.png", interlace=True)
    save(rgb, "palette.png", palette=True)
    save(rgb, "big.tif", bigtiff=True)
    grey = rgb.colourspace("b-w")
    save(grey, "grey.png")
    save(grey, "grey.jpg")
    save((grey > 128), "bilevel.png", bitdepth=1)
    wide = (rgb.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    save(wide, "rgb16.png")
    save(wide, "rgb16.tif")
    save(rgb.colourspace("scrgb"), "float.tif")
    # Half of it transparent, with a loud colour beneath, and the edge in the middle of what becomes one pixel.
    half = (field[0] < 202).ifthenelse([255, 0, 255, 0], [0, 128, 0, 255]).cast("uchar").copy(interpretation="srgb")
    save(half, "half.png")
    save(half, "half.webp", lossless=True)
    _profiles(rgb, save)
    # Red on the left, green above, blue below on the right: no two orientations look alike.
    corners = (field[0] < 200).ifthenelse([220, 0, 0], (field[1] < 150).ifthenelse([0, 220, 0], [0, 0, 220]))
    corners = corners.cast("uchar").copy(interpretation="srgb")
    undo = {1: corners, 2: corners.fliphor(), 3: corners.rot180(), 4: corners.flipver(), 5: corners.rot90().fliphor()}
    undo |= {6: corners.rot270(), 7: corners.rot270().fliphor(), 8: corners.rot90()}
    for number, stored in undo.items():
        image = tagged(
            stored, orientation=number, exif__ifd0__Copyright="(c) A. Nyone (UK) Ü", exif__ifd0__Make="Camera"
        )
        image = tagged(image, exif__ifd3__GPSLatitudeRef="N")
        save(image, f"orientation-{number}.jpg")
        if number in (3, 6):
            for ending in ("png", "webp", "tif"):
                save(image, f"orientation-{number}.{ending}")
            save(image, f"orientation-{number}.avif", effort=0)
    colours = [(number * 50, 100, 0) for number in range(5)]
    frames = [(pyvips.Image.black(40, 30, bands=3) + c).cast("uchar").copy(interpretation="srgb") for c in colours]
    moving = tagged(pyvips.Image.arrayjoin(frames, across=1), page__height=30, delay=[100, 200, 300, 400, 50], loop=3)
    save(moving, "moving.gif")
    save(moving, "moving.webp", lossless=True)
    noise = pyvips.Image.gaussnoise(900, 700, sigma=60, mean=128, seed=1).cast("uchar").copy(interpretation="b-w")
    save(noise, "noise.png")
    spot = (
        (pyvips.Image.black(400, 200, bands=3) + 90)
        .cast("uchar")
        .copy(interpretation="srgb")
        .draw_circle([255, 40, 0], 350, 100, 30, fill=True)
    )
    save(spot, "spot.png")
    large = (pyvips.Image.black(4000, 4000, bands=3) + 7).cast("uchar").copy(interpretation="srgb")
    save(large, "large-interlaced.png", interlace=True, compression=1)


def _profiles(rgb: Any, save: Any) -> None:
    """In CMYK and Display P3, each with the sRGB picture that a conversion by littleCMS in one step gives."""
    small = rgb.resize(0.5)
    save(small, "reference-p3.png")
    p3 = rgb.icc_transform("p3", input_profile="srgb", intent="relative")
    save(p3, "p3.png")
    save(p3, "p3.jpg", Q=98, subsample_mode="off")
    cmyk = rgb.icc_transform("cmyk", input_profile="srgb", intent="relative")
    back = cmyk.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True)
    save(back.resize(0.5), "reference-cmyk.png")
    save(cmyk, "cmyk.tif")
    save(cmyk, "cmyk.jpg", Q=98, subsample_mode="off")
    save(rgb.icc_transform("srgb", input_profile="srgb"), "srgb-profile.jpg")


def look(path: Path) -> dict[str, Any]:
    import pyvips

    image = pyvips.Image.new_from_file(str(path), access="random")
    frames = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if frames > 1:
        image = pyvips.Image.new_from_file(str(path), n=-1)
    high = image.get_page_height()
    image = image.copy_memory()

    def pixel(x: int, y: int) -> Pixel:
        return tuple(round(part) for part in image(x, y))

    x, y = image.width // 10, high // 10
    places = [(x, y), (image.width - 1 - x, y), (x, high - 1 - y), (image.width - 1 - x, high - 1 - y)]
    return {
        "loader": image.get("vips-loader"),
        "width": image.width,
        "height": high,
        "bands": image.bands,
        "frames": image.height // high,
        "delays": image.get("delay") if image.get_typeof("delay") else None,
        "loop": image.get("loop") if image.get_typeof("loop") else None,
        "fields": {
            name: str(image.get(name)) for name in image.get_fields() if name.startswith(("exif-", "icc", "orient"))
        },
        "corners": [[pixel(x, top + y) for x, y in places] for top in range(0, image.height, high)],
        "middle": pixel(image.width // 2, high // 2),
        "edge": pixel(image.width // 2, high // 2),
    }


def delta_e(path: Path, reference: Path) -> tuple[float, float]:
    import pyvips

    one, other = (pyvips.Image.new_from_file(str(each)).colourspace("lab") for each in (path, reference))
    difference = one.dE00(other)
    return difference.avg(), ((difference * 100).cast("ushort").percent(99) + 1) / 100


def psnr(path: Path, reference: Path) -> float:
    import pyvips

    one, other = (pyvips.Image.new_from_file(str(each)) for each in (path, reference))
    error = ((one - other) ** 2).avg()
    return 10 * math.log10(255 * 255 / error) if error else 99.0
