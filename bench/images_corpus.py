"""Other people's test images: what becomes of each, and that nothing else happens.

``python -m bench.images_corpus FOLDER … [--each]``   (FOLDER: for example Tests/images of Pillow's repository)

Every file is to be made into a JPEG, a WebP of all its frames, and a square PNG.  A row is a format (by content) and a code; beyond
that, whether the decoder was replaced, how long the slowest image took, and what a bomb costs that is refused by its header.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

from tasks.images.engine import Engine
from tasks.images.errors import ImageError
from tasks.images.variants import Variant

VARIANTS = (
    Variant("fit", 300, 300),
    Variant("all", 200, formats=("webp",), frames="all"),
    Variant("square", 100, 100, fit="cover", focus="attention", formats=("png",)),
)
ENCODINGS = [(variant, each) for variant in VARIANTS for each in variant.formats]


def main() -> int:
    """Print the table; 1 if a decoder died or a bomb took 50 ms."""
    parser = argparse.ArgumentParser(prog="python -m bench.images_corpus")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--each", action="store_true", help="print every file that was not made")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    files = sorted(path for folder in asked.folders for path in folder.rglob("*") if path.is_file())
    slowest, replaced, decoder = (0.0, ""), 0, None
    with Engine() as engine:
        for path in files:
            began = time.perf_counter()
            code = _become(engine, path)
            slowest = max(slowest, (time.perf_counter() - began, path.name))
            counts[code.partition(":")[0]] += 1
            if asked.each and code != "made":
                print(f"  {path.name}: {code}")
            if engine._decoder is not decoder:
                replaced, decoder = replaced + (decoder is not None), engine._decoder
    for code, count in counts.most_common():
        print(f"{count:>6}  {code}")
    print(f"{len(files)} files; decoders replaced: {replaced}; slowest: {slowest[1]}, {slowest[0]:.2f} s")
    bombs = _bombs()
    died = counts["decoder_killed"]
    return 1 if died or max(bombs) > 0.05 else 0


def _become(engine: Engine, path: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="images-corpus-") as into:
        try:
            outputs = engine.render(path, ENCODINGS, Path(into)).outputs
        except ImageError as error:
            assert not list(Path(into).iterdir()), f"{path} left a file"
            return str(error)
        assert all(output.path.stat().st_size == output.bytes for output in outputs)
        return "made"


def _bombs() -> list[float]:
    """Seconds until each is refused: a PNG of 30000 × 30000 in 875 kB, a GIF of 65535 × 66601 in 44 bytes or fewer."""
    squeeze = zlib.compressobj(9)
    rows = b"".join([*(squeeze.compress(bytes(30_001 * 1000)) for _ in range(30)), squeeze.flush()])
    png = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)),
        (b"IDAT", rows),
        (b"IEND", b""),
    ):
        png += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    gif = b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6) + b"\x2c"
    gif += struct.pack("<HHHHB", 0, 1_066, 65_535, 65_535, 0) + b"\x02\x02\x44\x01\x00\x3b"
    times = []
    with tempfile.TemporaryDirectory(prefix="images-bombs-") as folder, Engine() as engine:
        for name, data in (("bomb.png", png), ("bomb.gif", gif)):
            path = Path(folder) / name
            path.write_bytes(data)
            began = time.perf_counter()
            try:
                engine.render(path, ENCODINGS, Path(folder))
            except ImageError as error:
                times.append(time.perf_counter() - began)
                print(f"{name}, {len(data)} bytes: {error.code} after {times[-1] * 1000:.1f} ms")
    return times


if __name__ == "__main__":
    sys.exit(main())
