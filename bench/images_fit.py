"""A JPEG of 4000 × 3000 fitted inside 1920 × 1080 (1440 × 1080) at quality 82: ours beside the others, in turns, on the same files.

``python -m bench.images_fit [--files 96] [--turn 8] [--plug MODULE:FUNCTION]``

Every contender makes two images at a time.  They take turns of a few files, so that whatever else the machine does hits all alike;
only ratios within one run count.  ``--plug`` names a function that returns one more `bench.images_contenders.Contender`.

    of best sharp   images a second, as a ratio to the best of sharp's settings in this run
    CPU ms          per image, of all its processes
    PSNR            against the image decoded in full and resized (Lanczos 3), before any encoding: mean, and the worst
                    difference to sharp on one file; what counts is how far a contender is below sharp
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench import images_tools
from bench.images_contenders import Contender, engine, others


@dataclass
class Score:
    """What one contender took for all files."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    psnr: list[float] = field(default_factory=list)
    bytes: int = 0


def main() -> int:
    """Print the table; 1 if ours is slower than the best of sharp, or more than 0.2 dB below it."""
    parser = argparse.ArgumentParser(prog="python -m bench.images_fit")
    parser.add_argument("--files", type=int, default=96)
    parser.add_argument("--turn", type=int, default=8, help="files before it is the next one's turn")
    parser.add_argument("--plug", action="append", default=[], help="MODULE:FUNCTION that returns another contender")
    asked = parser.parse_args()
    photos = images_tools.photographs(asked.files, 4000, 3000)
    contenders = [engine(), *others()]
    for plug in asked.plug:
        module, _, function = plug.partition(":")
        contenders.append(getattr(importlib.import_module(module), function)())
    try:
        with tempfile.TemporaryDirectory(prefix="images-fit-") as into:
            scores = _measure(contenders, photos, asked.turn, Path(into))
            _judge(contenders, photos, scores, Path(into))
    finally:
        for contender in contenders:
            contender.close()
    return _print(contenders, scores, len(photos))


def _measure(contenders: Sequence[Contender], photos: Sequence[Path], turn: int, into: Path) -> dict[str, Score]:
    scores = {contender.name: Score() for contender in contenders}
    for number, contender in enumerate(contenders):
        (into / str(number)).mkdir()
        # Libraries loaded, processes started, files in the page cache.
        contender.run([(photo, into / str(number) / "warm-up.jpg") for photo in photos[:1]])
        contender.run([(photo, into / str(number) / f"warm-up-{n}.jpg") for n, photo in enumerate(photos[:4])])
    for start in range(0, len(photos), turn):
        for number, contender in enumerate(contenders):
            pairs = [(photo, into / str(number) / photo.name) for photo in photos[start : start + turn]]
            cpu, began = contender.cpu_s(), time.perf_counter()
            contender.run(pairs)
            scores[contender.name].wall_s += time.perf_counter() - began
            scores[contender.name].cpu_s += contender.cpu_s() - cpu
    return scores


def _judge(contenders: Sequence[Contender], photos: Sequence[Path], scores: dict[str, Score], into: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for photo, found in zip(
            photos,
            pool.map(
                _psnrs, photos, ([into / str(n) / photo.name for n in range(len(contenders))] for photo in photos)
            ),
            strict=True,
        ):
            for number, (contender, decibels) in enumerate(zip(contenders, found, strict=True)):
                scores[contender.name].psnr.append(decibels)
                scores[contender.name].bytes += (into / str(number) / photo.name).stat().st_size


def _psnrs(photo: Path, made: Sequence[Path]) -> list[float]:
    import math

    import pyvips

    full = pyvips.Image.new_from_file(str(photo))
    reference = full.resize(1440 / full.width, vscale=1080 / full.height, kernel="lanczos3").copy_memory()
    errors = [((pyvips.Image.new_from_file(str(path)) - reference) ** 2).avg() for path in made]
    return [10 * math.log10(255 * 255 / error) for error in errors]


def _print(contenders: Sequence[Contender], scores: dict[str, Score], count: int) -> int:
    sharps = [name for name in scores if name.startswith("sharp")]
    best = min(sharps, key=lambda name: scores[name].wall_s) if sharps else contenders[-1].name
    print(f"\n{count} files, two at a time; unit: {best}")
    print(
        f"{'':<42}{'images/s':>9}{'of best':>9}{'CPU ms':>8}{'of best':>9}{'kB':>7}{'PSNR':>8}{'to sharp':>10}{'worst':>8}"
    )
    for contender in contenders:
        score, unit = scores[contender.name], scores[best]
        difference = [ours - theirs for ours, theirs in zip(score.psnr, unit.psnr, strict=True)]
        print(
            f"{contender.name:<42}{count / score.wall_s:>9.2f}{unit.wall_s / score.wall_s:>9.2f}"
            f"{score.cpu_s / count * 1000:>8.0f}{score.cpu_s / unit.cpu_s:>9.2f}{score.bytes / count / 1000:>7.0f}"
            f"{statistics.mean(score.psnr):>8.2f}{statistics.mean(difference):>+10.3f}{min(difference):>+8.3f}"
        )
    ours = scores[contenders[0].name]
    slower = ours.wall_s > scores[best].wall_s
    worse = statistics.mean(ours.psnr) < statistics.mean(scores[best].psnr) - 0.2
    return 1 if slower or worse else 0


if __name__ == "__main__":
    sys.exit(main())
