"""Pictures for tests of the image batches, written without any image library: true PNG files, and files that only look so."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path


def png(width: int, height: int, seed: int = 0) -> bytes:
    """A PNG in RGB: a slope of colours with blocks in it, the same for the same seed."""
    rng = random.Random(seed)
    base = [rng.randrange(256) for _ in range(3)]
    rows = []
    for y in range(height):
        if y % 8 == 0:
            row = b"".join(
                bytes(
                    (
                        (base[0] + x * 255 // width) % 256,
                        (base[1] + y * 255 // height) % 256,
                        base[2] ^ (x // 8 % 4 * 32),
                    )
                )
                for x in range(width)
            )
        rows.append(b"\0" + row)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 1)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A PNG that says that it has so many pixels, and has next to no bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100_000, 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def write_pictures(folder: Path, count: int, *, width: int = 160, height: int = 120, seed: int = 0) -> list[Path]:
    """So many different pictures, ``000.png`` and on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(png(width, height, seed * 1000 + number))
    return paths


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
