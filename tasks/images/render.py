"""From an open original to finished files: decode once, then variant by variant, format by format.

Runs in the decoder process alone.  What the library says is translated into `ImageError` here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyvips

from tasks.images.dominant import SAMPLE_EDGE, dominant_colour
from tasks.images.encode import encode
from tasks.images.ending import ends_early
from tasks.images.errors import ImageError
from tasks.images.geometry import Layout, cut_at, lay_out
from tasks.images.limits import Limits
from tasks.images.picture import Image, Picture, decode, resized
from tasks.images.variants import Variant

ANIMATED = ("webp", "gif")
NO_ALPHA = ("jpeg",)

_OUT_OF_MEMORY = (
    "out of memory",
    "unable to allocate",
    "cannot allocate",
    "insufficient memory",
    "memory allocation",
    # A thread's stack is memory too, and may be what does not fit any more.
    "error creating thread",
)
_CUT_SHORT = (
    "premature end of jpeg",
    "unexpected end of",
    "gave end of file",
    "not enough image data",
    "premature end of file",
)
_UNSUPPORTED = ("not supported", "support is not configured", "bad labq format", "unsupported")
"""What libvips or libtiff says of TIFFs that are in order, but of a kind that they do not read."""
_HARMLESS = ("extraneous bytes before marker", "unknown jfif revision", "unknown adobe color transform")
"""What cameras write and libjpeg warns of, without a pixel being wrong."""


@dataclass(frozen=True)
class Task:
    """One encoding to be made, and the file for it."""

    variant: Variant
    image_format: str
    path: Path


def render(descriptor: int, image_format: str, tasks: Sequence[Task], limits: Limits) -> list[dict[str, Any]]:
    """Write the file of each task; tells width, height, frames, bytes, sha256, dominant colour, quality and notes of each.

    ``descriptor``  the original, open for reading
    ``image_format``  its format, as `tasks.images.sniff` has it

    Raises `ImageError`: truncated, corrupt, memory_limit, encode_failed, disk_full, not_writable, and those of the header,
    should the decoder see another one.
    """
    variants = [task.variant for task in tasks]
    animated = any(task.variant.frames == "all" and task.image_format in ANIMATED for task in tasks)
    with _translated("corrupt", descriptor, image_format):
        try:
            picture = decode(descriptor, image_format, variants, all_frames=animated, limits=limits)
        except pyvips.Error as error:
            if not _is_harmless(str(error)):
                raise
            picture = decode(descriptor, image_format, variants, all_frames=animated, limits=limits, strict=False)
    with _translated("encode_failed", descriptor, image_format):
        colour = _dominant(picture)
        return [
            told
            for variant, group in itertools.groupby(tasks, key=lambda task: task.variant)
            for told in _one_variant(picture, variant, list(group), colour)
        ]


def _one_variant(picture: Picture, variant: Variant, tasks: Sequence[Task], colour: str) -> Iterator[dict[str, Any]]:
    layout = lay_out(*picture.upright_size, variant)
    laid_out = replace(picture, frames=_laid_out(picture, variant, layout))
    for task in tasks:
        moving = variant.frames == "all" and task.image_format in ANIMATED
        finished = laid_out if moving else laid_out.only_first()
        finished = replace(finished, frames=[_grounded(frame, layout, task) for frame in finished.frames])
        data, quality, over = encode(finished, variant, task.image_format)
        _write(task.path, data)
        yield {
            "width": layout.out_width,
            "height": layout.out_height,
            "frames": len(finished.frames),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "dominant_colour": colour,
            "quality": quality,
            "notes": ["over_target"] if over else [],
        }


def _laid_out(picture: Picture, variant: Variant, layout: Layout) -> list[Image]:
    """The frames of one variant, resized and cut, in memory: each format reads them once more."""
    frames = [resized(frame, layout.width, layout.height) for frame in picture.frames]
    if layout.out_width < layout.width or layout.out_height < layout.height:
        left, top = _place_of_cut(frames[0], variant, layout)
        frames = [frame.crop(left, top, layout.out_width, layout.out_height) for frame in frames]
    return [frame.copy_memory() for frame in frames]


def _place_of_cut(frame: Image, variant: Variant, layout: Layout) -> tuple[int, int]:
    """Left and top; the first frame decides for all, or an animation would shake."""
    focus = variant.focus
    if isinstance(focus, str) and focus != "centre":
        part = frame.copy_memory().smartcrop(layout.out_width, layout.out_height, interesting=focus)
        return -part.xoffset, -part.yoffset
    return cut_at(layout, (0.5, 0.5) if isinstance(focus, str) else focus)


def _grounded(frame: Image, layout: Layout, task: Task) -> Image:
    """The frame on its background: under transparency where the format has none, and around it where it does not fill."""
    red, green, blue, alpha = rgba(task.variant.background)
    if task.image_format in NO_ALPHA:
        if alpha < 255:
            # What shines through is white, as on paper.
            red, green, blue = (round((part * alpha + 255 * (255 - alpha)) / 255) for part in (red, green, blue))
            alpha = 255
        if frame.hasalpha():
            frame = _coloured(frame, red, green, blue).flatten(background=_bands(frame, red, green, blue))
    if layout.out_width <= layout.width and layout.out_height <= layout.height:
        return frame
    frame = _coloured(frame, red, green, blue)
    if alpha < 255 and not frame.hasalpha():
        frame = frame.addalpha()
    ground = [*_bands(frame, red, green, blue), *([alpha] if frame.hasalpha() else [])]
    left, top = (layout.out_width - layout.width) // 2, (layout.out_height - layout.height) // 2
    return frame.embed(left, top, layout.out_width, layout.out_height, extend="background", background=ground)


def rgba(colour: str) -> tuple[int, int, int, int]:
    """Red, green, blue and opacity of a background as `Variant` has it."""
    if colour == "transparent":
        return (255, 255, 255, 0)
    parts = [int(colour[at : at + 2], 16) for at in range(1, len(colour), 2)]
    return (parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else 255)


def _coloured(frame: Image, red: int, green: int, blue: int) -> Image:
    """In RGB, if a grey frame is to meet a colour."""
    return frame if red == green == blue or frame.bands >= 3 else frame.colourspace("srgb")


def _bands(frame: Image, red: int, green: int, blue: int) -> list[int]:
    return [red, green, blue] if frame.bands >= 3 else [red]


def _dominant(picture: Picture) -> str:
    frame = picture.first
    # Every so-manieth pixel: what is commonest among them is commonest in the image, and nothing is computed.
    small = frame.subsample(max(1, frame.width // SAMPLE_EDGE), max(1, frame.height // SAMPLE_EDGE))
    return dominant_colour(bytes(small.write_to_memory()), small.bands)


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ImageError("disk_full" if full else "not_writable", f"{path.parent}: {error.strerror}") from error


@contextlib.contextmanager
def _translated(otherwise: str, descriptor: int, image_format: str) -> Iterator[None]:
    """The library's errors as ours; a message that says nothing we know is ``otherwise``."""
    try:
        yield
    except MemoryError as error:
        raise ImageError("memory_limit") from error
    except pyvips.Error as error:
        code = code_of(str(error), otherwise)
        if code == "corrupt" and ends_early(descriptor, image_format):
            code = "truncated"
        raise ImageError(code, _sentence(str(error))) from error


def code_of(message: str, otherwise: str) -> str:
    """The code for what libvips or one of its libraries said."""
    said = message.lower()
    if any(words in said for words in _OUT_OF_MEMORY):
        return "memory_limit"
    if otherwise == "corrupt" and any(words in said for words in _CUT_SHORT):
        return "truncated"
    if otherwise == "corrupt" and any(words in said for words in _UNSUPPORTED):
        return "unsupported_format"
    return otherwise


def _is_harmless(message: str) -> bool:
    said = _lines(message)
    return bool(said) and all(any(words in line.lower() for words in _HARMLESS) for line in said)


def _sentence(message: str) -> str:
    return "; ".join(_lines(message) or [message.strip()])[:300]


def _lines(message: str) -> list[str]:
    """The lines of libvips' message, without its heading, its own seeking about, and repetitions."""
    lines = (line.strip() for line in message.splitlines()[1:])
    return list(dict.fromkeys(line for line in lines if line and "bad seek" not in line))
