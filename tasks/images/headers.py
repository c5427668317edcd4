"""The headers of the formats that can be read: dimensions, frames and orientation, without any library that decodes.

Everything is read through `Reader`, which never goes beyond the file and never takes more than it was asked for, so that
what a hostile file can cost here is a few thousand small reads.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

from tasks.images.errors import ImageError

MAX_STEPS: Final = 20_000
"""Chunks, segments or boxes of one file that are looked at."""
MAX_JUNK: Final = 65_536
"""Bytes between two segments of a JPEG that are skipped."""
MAX_BLOCKS: Final = 1_000_000
"""Of a GIF, whose blocks have at most 255 bytes: enough for 250 MB, and about a second."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says."""

    width: int
    height: int
    frames: int = 1
    orientation: int = 1
    cut_at: int | None = None
    """Where the file ends, if that is before the frames do."""


class Reader:
    """A file, read piecewise; what is not there raises `truncated`."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self.file = file
        self.size = size
        self.steps = 0

    def at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise ImageError("corrupt", f"its header has more than {MAX_STEPS} parts")
        self.file.seek(offset)
        data = self.file.read(count)
        if len(data) < count:
            raise ImageError("truncated", f"the file ends at byte {self.size}, within its header")
        return data

    def some(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``."""
        self.file.seek(offset)
        return self.file.read(count)


def read_header(image_format: str, file: BufferedReader, size: int, *, max_frames: int) -> Header:
    """The header of a file whose content is ``image_format``; counting frames stops past ``max_frames``.

    Raises `ImageError`: truncated, corrupt, unsupported_format.
    """
    try:
        header = _READERS[image_format](Reader(file, size), max_frames)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ImageError("corrupt", f"its header cannot be read: {error}") from error
    if header.width < 1 or header.height < 1:
        raise ImageError("corrupt", f"its header says {header.width}×{header.height} pixels")
    return header


def exif_orientation(exif: bytes) -> int:
    """The tag Orientation of a TIFF structure as EXIF has it; 1 where it is missing or makes no sense (EXIF 2.32, 4.6.4)."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (ifd,) = struct.unpack_from(order + "I", exif, 4)
    if ifd + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(order + "H", exif, ifd)
    for at in range(ifd + 2, min(ifd + 2 + 12 * count, len(exif) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, at)
        if tag == 0x0112:
            return value if 1 <= value <= 8 else 1
    return 1


def _jpeg(reader: Reader, _: int) -> Header:
    """ITU-T T.81, annex B: segments up to the first frame header."""
    at, orientation = 2, 1
    while True:
        marker = reader.at(at, 4)
        if marker[0] != 0xFF:
            # As libjpeg does: go on at the next thing that can be a marker.
            skipped = reader.some(at, MAX_JUNK).find(b"\xff")
            if skipped < 0:
                raise ImageError("corrupt", f"no JPEG marker in the {MAX_JUNK} bytes from byte {at}")
            at += skipped
            continue
        code = marker[1]
        if code == 0xFF or code == 0x01 or 0xD0 <= code <= 0xD8:
            at += 1 if code == 0xFF else 2
            continue
        if code in (0xD9, 0xDA):
            raise ImageError("corrupt", "a JPEG without a frame header")
        length = int.from_bytes(marker[2:4], "big")
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            depth, height, width = struct.unpack(">BHH", reader.at(at + 4, 5))
            if code in (0xC3, 0xC7, 0xCB, 0xCF):
                raise ImageError("unsupported_format", "lossless JPEG; convert it to PNG or TIFF first")
            if depth != 8:
                raise ImageError(
                    "unsupported_format", f"JPEG with {depth} bits a sample; convert it to PNG or TIFF first"
                )
            return Header(width, height, orientation=orientation)
        if code == 0xE1 and length > 8:
            data = reader.at(at + 4, length - 2)
            if data.startswith(b"Exif\0") and orientation == 1:
                orientation = exif_orientation(data[6:])
        at += 2 + max(2, length)


def _png(reader: Reader, _: int) -> Header:
    """PNG (third edition), 5 and 11: IHDR, then the chunks before the pixels.  Of an APNG the still image is taken."""
    kind, width, height = struct.unpack(">4sII", reader.at(12, 12))
    if kind != b"IHDR":
        raise ImageError("corrupt", "a PNG that does not begin with IHDR")
    at, orientation = 8, 1
    while at + 12 <= reader.size:
        length, kind = struct.unpack(">I4s", reader.at(at, 8))
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"eXIf" and length <= 1 << 20:
            orientation = exif_orientation(reader.at(at + 8, length))
        at += 12 + length
    return Header(width, height, orientation=orientation)


def _gif(reader: Reader, max_frames: int) -> Header:
    """GIF89a: the screen, then block after block; a frame that lies beyond the screen makes it larger, as decoders do."""
    file = reader.file
    width, height, flags = struct.unpack("<HHB", reader.at(6, 5))
    file.seek(13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0))
    frames = blocks = 0
    while frames <= max_frames:
        introducer = file.read(1)
        if introducer == b"\x2c":
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return Header(width, height, frames=max(1, frames), cut_at=reader.size)
            left, top, wide, high, flags = struct.unpack("<HHHHB", descriptor)
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            file.seek((3 << ((flags & 7) + 1) if flags & 0x80 else 0) + 1, 1)
        elif introducer == b"\x21":
            file.seek(1, 1)
        elif not introducer and frames > 1:
            raise ImageError(
                "truncated", f"the file ends at byte {reader.size}, after frame {frames}, without a trailer"
            )
        else:
            # The trailer, or rubbish behind a frame: the decoder judges that.
            break
        while (length := file.read(1)) != b"\0":
            if not length:
                return Header(width, height, frames=max(1, frames), cut_at=reader.size)
            file.seek(length[0], 1)
            if (blocks := blocks + 1) > MAX_BLOCKS:
                raise ImageError("corrupt", f"a GIF of more than {MAX_BLOCKS} blocks")
    return Header(width, height, frames=max(1, frames))


def _webp(reader: Reader, max_frames: int) -> Header:
    """WebP container specification (RFC 9649): VP8, VP8L, or VP8X with its chunks."""
    kind = reader.at(12, 4)
    if kind == b"VP8 ":
        start, width, height = struct.unpack("<3sHH", reader.at(23, 7))
        if start != b"\x9d\x01\x2a":
            raise ImageError("corrupt", "a WebP without a VP8 key frame")
        return Header(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", reader.at(21, 4))
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X":
        raise ImageError("corrupt", f"a WebP that begins with the chunk {kind!r}")
    canvas = reader.at(24, 6)
    at, frames, orientation = 30, 0, 1
    while at + 8 <= reader.size and frames <= max_frames:
        kind, length = struct.unpack("<4sI", reader.at(at, 8))
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF" and length <= 1 << 20 and at + 8 + length <= reader.size:
            orientation = exif_orientation(reader.at(at + 8, length).removeprefix(b"Exif\0\0"))
        at += 8 + length + (length & 1)
    width, height = int.from_bytes(canvas[:3], "little") + 1, int.from_bytes(canvas[3:], "little") + 1
    return Header(width, height, frames=max(1, frames), orientation=orientation)


def _avif(reader: Reader, _: int) -> Header:
    """ISO/IEC 23008-12: the largest `ispe` in meta/iprp/ipco.  Decoders turn the image by `irot` themselves."""
    width = height = 0
    stack = [(0, reader.size, 0)]
    while stack:
        at, end, depth = stack.pop()
        while at + 8 <= end:
            length, kind = struct.unpack(">I4s", reader.at(at, 8))
            body = at + 8
            if length == 1:
                (length,) = struct.unpack(">Q", reader.at(body, 8))
                body += 8
            elif length == 0:
                length = end - at
            if length < body - at:
                raise ImageError("corrupt", f"a box of {length} bytes")
            if kind == b"ispe":
                wide, high = struct.unpack(">II", reader.at(body + 4, 8))
                if wide * high > width * height:
                    width, height = wide, high
            elif kind in (b"meta", b"iprp", b"ipco") and depth < 4:
                stack.append((body + (4 if kind == b"meta" else 0), min(end, at + length), depth + 1))
            at += length
    return Header(width, height)


def _tiff(reader: Reader, _: int) -> Header:
    """TIFF 6.0 and BigTIFF: the first page."""
    head = reader.at(0, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    (ifd,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
    (count,) = struct.unpack(order + ("Q" if big else "H"), reader.at(ifd, 8 if big else 2))
    if not 1 <= count <= 4096:
        raise ImageError("corrupt", f"a TIFF directory of {count} entries")
    size, first = (20, ifd + 8) if big else (12, ifd + 2)
    entries = reader.at(first, size * count)
    found = {0x0112: 1}
    for at in range(0, size * count, size):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        value = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if value and (big or value != "Q"):
            (found[tag],) = struct.unpack_from(order + value, entries, at + (12 if big else 8))
        elif tag == 0xC612:
            found[tag] = 1
    if 0xC612 in found:
        raise ImageError("unsupported_format", "RAW (DNG); develop it to TIFF or JPEG first")
    orientation = found[0x0112] if 1 <= found[0x0112] <= 8 else 1
    return Header(found.get(256, 0), found.get(257, 0), orientation=orientation)


def _svg(reader: Reader, _: int) -> Header:
    """The size of an SVG's outermost element, or of its view box; the decoder has the last word."""
    reader.file.seek(0)
    root = re.search(rb"<svg\b[^>]*>", reader.file.read(65_536), re.DOTALL | re.IGNORECASE)
    if root is None:
        raise ImageError("corrupt", "an SVG whose first element is not found")
    sizes = [
        re.search(rb"\b%s\s*=\s*[\"']\s*([0-9.]+)(?:px)?\s*[\"']" % name, root[0]) for name in (b"width", b"height")
    ]
    if sizes[0] and sizes[1]:
        return Header(round(float(sizes[0][1])), round(float(sizes[1][1])))
    box = re.search(rb"viewBox\s*=\s*[\"']\s*[-0-9.]+[\s,]+[-0-9.]+[\s,]+([0-9.]+)[\s,]+([0-9.]+)", root[0])
    return Header(round(float(box[1])), round(float(box[2]))) if box else Header(300, 150)


_READERS: Final[dict[str, Callable[[Reader, int], Header]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "webp": _webp,
    "avif": _avif,
    "tiff": _tiff,
    "svg": _svg,
}
