"""What the image benchmarks compare with, and what they do it on; set up once, under ``var/bench-images``.

Photographs are scikit-image's own, cut to 4:3 at several places and enlarged.  Pillow and scikit-image come into a virtual
environment of their own (`bench/images-requirements.txt`, with hashes), sharp into a folder of its own (`bench/images_sharp`, with
its lock file), ``vipsthumbnail`` from the PATH or unpacked from the distribution's packages.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from stack.debian import Program, packages_directory
from stack.errors import ServerMissing
from stack.layout import var_dir
from stack.packages import unpack

BENCH = Path(__file__).resolve().parent
PHOTOGRAPHS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"),
    *("ihc.png", "hubble_deep_field.jpg", "retina.jpg", "motorcycle_left.png"),
)


def folder() -> Path:
    """Where all of it is kept."""
    found = (var_dir() / "bench-images").absolute()
    found.mkdir(parents=True, exist_ok=True)
    return found


@cache
def python() -> Path:
    """A Python with Pillow, and scikit-image's photographs."""
    venv = folder() / "venv"
    stamp = venv / ".ready"
    wanted = (BENCH / "images-requirements.txt").read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print("setting up Pillow and the photographs", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [
            str(venv / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", str(BENCH / "images-requirements.txt")], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return venv / "bin" / "python"


@cache
def sharp() -> Path | None:
    """The folder with sharp in it; None without Node.js."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    place = folder() / "sharp"
    if not (place / "node_modules" / "sharp").exists():
        print("setting up sharp", flush=True)
        shutil.copytree(BENCH / "images_sharp", place, dirs_exist_ok=True)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=place, check=True)
    shutil.copy(BENCH / "images_sharp" / "worker.js", place)
    return place


@cache
def vipsthumbnail() -> Program | None:
    """The program; None where there is no package of it."""
    if found := shutil.which("vipsthumbnail"):
        return Program(Path(found))
    try:
        unpacked = unpack(
            packages_directory() / "libvips-tools", ("libvips-tools",), what_to_do="see bench/images_tools.py"
        )
    except ServerMissing as error:
        print(f"no vipsthumbnail: {error}", flush=True)
        return None
    return Program(unpacked.root / "usr" / "bin" / "vipsthumbnail", unpacked.library_path)


def photographs(count: int, width: int, height: int, *, progressive: bool = False) -> list[Path]:
    """``count`` different JPEGs of ``width`` × ``height`` at quality 90, from scikit-image's photographs."""
    place = folder() / f"{'progressive' if progressive else 'baseline'}-{width}x{height}"
    place.mkdir(exist_ok=True)
    wanted = [place / f"{number:03d}.jpg" for number in range(count)]
    missing = [(number, path) for number, path in enumerate(wanted) if not path.exists()]
    if missing:
        print(f"making {len(missing)} photographs of {width}×{height}", flush=True)
        (data,) = (python().parent.parent / "lib").glob("python*/site-packages/skimage/data")
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            jobs = [pool.submit(_enlarge, data, number, path, width, height, progressive) for number, path in missing]
            for job in jobs:
                job.result()
    return wanted


def _enlarge(data: Path, number: int, path: Path, width: int, height: int, progressive: bool) -> None:
    os.environ["VIPS_CONCURRENCY"] = "1"
    import pyvips

    image = pyvips.Image.new_from_file(str(data / PHOTOGRAPHS[number % len(PHOTOGRAPHS)])).copy_memory()
    image = image.extract_band(0, n=3) if image.bands > 3 else image
    # Another part of it each time round: no two files are the same, and each has the detail of a photograph.
    part = 1 - 0.04 * (number // len(PHOTOGRAPHS) % 10)
    wide = int(min(image.width, image.height * width / height) * part)
    high = int(wide * height / width)
    image = image.crop((image.width - wide) // 2, (image.height - high) // 2, wide, high)
    image = image.resize(width / wide, vscale=height / high, kernel="lanczos3").gravity("centre", width, height)
    noise = pyvips.Image.gaussnoise(width, height, sigma=3, mean=0, seed=number)
    unfinished = path.with_suffix(".part.jpg")
    (image + noise).cast("uchar").copy(interpretation="srgb").jpegsave(
        str(unfinished), Q=90, interlace=progressive, keep="none"
    )
    unfinished.rename(path)
