"""The look at an original before anything decodes it: may it be opened, what is it, does it stay within the limits?"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePath

from tasks.images.errors import ImageError
from tasks.images.headers import Header, read_header
from tasks.images.limits import Limits
from tasks.images.sniff import HEAD_BYTES, sniff, wrong_extension


@dataclass(frozen=True, slots=True)
class Probed:
    """What the bytes and the header of an original say, without decoding it."""

    format: str
    """jpeg, png, gif, webp, avif, tiff (svg, where allowed): by content, not by name."""
    width: int
    """Pixels as stored; with an ``orientation`` from 5 to 8 the upright image is as wide as this is high."""
    height: int
    frames: int
    orientation: int
    """1 to 8 as in EXIF; 1 where the file says nothing."""
    bytes: int
    sha256: str
    notes: tuple[str, ...] = ()
    """`wrong_extension`: the name promises another format."""
    signature: tuple[int, ...] = ()
    """Device, inode, size and time (ns) of the file: `Engine.render` raises `changed` if they are others by then."""

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.width * self.height * self.frames


@contextmanager
def opened(source: Path) -> Iterator[BufferedReader]:
    """The file, open for reading; raises `ImageError`: missing, permission, not_a_file."""
    try:
        # Not blocking: opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("missing", str(source)) from error
    except PermissionError as error:
        raise ImageError("permission", str(source)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError("not_a_file", str(source))
    with os.fdopen(descriptor, "rb") as file:
        yield file


def probe_open(file: BufferedReader, name: str, limits: Limits) -> Probed:
    """What an open file is; the limits are checked before its bytes are hashed."""
    size = os.fstat(file.fileno()).st_size
    extension = PurePath(name).suffix
    image_format, header = check_header(file, size, extension, limits)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Probed(
        format=image_format,
        width=header.width,
        height=header.height,
        frames=header.frames,
        orientation=header.orientation,
        bytes=size,
        sha256=digest,
        notes=("wrong_extension",) if wrong_extension(image_format, extension) else (),
        signature=signature(file),
    )


def signature(file: BufferedReader) -> tuple[int, ...]:
    """What changes when a file is replaced or written to."""
    found = os.fstat(file.fileno())
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def check_header(file: BufferedReader, size: int, extension: str, limits: Limits) -> tuple[str, Header]:
    """Format and header of a file of ``size`` bytes; raises `ImageError` if it is none, or beyond a limit."""
    if size == 0:
        raise ImageError("empty")
    if size > limits.max_file_bytes:
        raise ImageError("too_large_file", f"{size} bytes, allowed are {limits.max_file_bytes}")
    file.seek(0)
    image_format = sniff(file.read(HEAD_BYTES), extension, allow=limits.allow)
    header = read_header(image_format, file, size, max_frames=limits.max_frames)
    check_limits(header, size, limits)
    if header.cut_at is not None:
        # Last: of a bomb that is cut short too, it matters that it is a bomb.
        raise ImageError("truncated", f"the file ends at byte {header.cut_at}, within a frame or without a trailer")
    return image_format, header


def check_limits(header: Header, size: int, limits: Limits) -> None:
    """Raise `ImageError` if what the header promises is more than allowed; ``size`` is the file's, in bytes."""
    width, height, frames = header.width, header.height, header.frames
    pixels = width * height * frames
    if max(width, height) > limits.max_edge:
        raise ImageError("too_large_dimensions", f"{width}×{height} pixels, allowed are {limits.max_edge} either way")
    if frames > limits.max_frames:
        raise ImageError("too_many_frames", f"more than {limits.max_frames}")
    if pixels > limits.max_pixels:
        of = f" in {frames} frames" if frames > 1 else ""
        raise ImageError("too_many_pixels", f"{width}×{height}{of}, allowed are {limits.max_pixels} pixels in all")
    if pixels > limits.ratio_from_pixels and pixels > limits.max_ratio * size:
        raise ImageError(
            "suspicious_ratio", f"{pixels} pixels from {size} bytes, allowed are {limits.max_ratio} a byte"
        )
