"""Encoding: a finished picture → the bytes of one format, at a quality or within a size.  Runs in the decoder process alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyvips

from tasks.images.metadata import COPYRIGHT_FIELDS
from tasks.images.picture import Image, Picture
from tasks.images.variants import Variant

# Efforts by measurement (bench/images_quality.py): WebP 2 takes half the time of 4, for 5 % more bytes; AVIF 3 a sixth of the
# time of 4, for 8 to 13 % more.  Of AVIF's efforts it is the last that stays within two seconds at the longest edge allowed.
WEBP_EFFORT: Final = 2
AVIF_EFFORT: Final = 3
PNG_COMPRESSION: Final = 6
GIF_EFFORT: Final = 5

_OF_ANIMATIONS: Final = ("page-height", "n-pages", "delay", "loop")

LEAST_QUALITY: Final = 10
MOST_QUALITY: Final = 95
SEARCH_STEPS: Final = 7
"""Halving 10 to 95 until one is left takes so many encodings."""


def encode(picture: Picture, variant: Variant, image_format: str) -> tuple[bytes, int | None, bool]:
    """The bytes of ``picture`` in ``image_format``, the quality that was used, and whether they exceed the target."""
    image = _with_metadata(_joined(picture), picture, variant, image_format)
    keep = "|".join(_kept_blocks(image)) or "none"
    save = _SAVERS[image_format]
    if variant.target_bytes is None or image_format in ("png", "gif"):
        quality = variant.quality_for(image_format)
        return save(image, quality, keep), quality, False
    return _within(variant.target_bytes, lambda quality: save(image, quality, keep))


def _within(target_bytes: int, save: Callable[[int], bytes]) -> tuple[bytes, int, bool]:
    """The best quality whose bytes are no more than the target; if none is, the least quality and True."""
    low, high = LEAST_QUALITY, MOST_QUALITY
    best: tuple[bytes, int] | None = None
    for _ in range(SEARCH_STEPS):
        if low > high:
            break
        quality = (low + high) // 2
        data = save(quality)
        if len(data) <= target_bytes:
            best, low = (data, quality), quality + 1
        else:
            high = quality - 1
    if best is None:
        return save(LEAST_QUALITY), LEAST_QUALITY, True
    return *best, False


def _joined(picture: Picture) -> Image:
    """The frames below each other, as libvips has animations; durations and loops are with the first, since it was read."""
    if len(picture.frames) == 1:
        image = picture.first.copy()
        for name in _OF_ANIMATIONS:
            # Of a frame taken from an animation: the encoder would cut it into pages of the old height.
            if image.get_typeof(name):
                image.remove(name)
        return image
    image = pyvips.Image.arrayjoin(list(picture.frames), across=1).copy()
    image.set_type(pyvips.GValue.gint_type, "page-height", picture.first.height)
    return image


def _with_metadata(image: Image, picture: Picture, variant: Variant, image_format: str) -> Image:
    """Nothing of the original's but what is kept: rebuilt from its values, so that no byte of an old block slips through."""
    for name in image.get_fields():
        if name.startswith(("exif-", "xmp-", "iptc-", "icc-", "png-comment", "gif-comment")) or name == "orientation":
            image.remove(name)
    if image_format == "gif":
        return image
    metadata = picture.metadata
    if "copyright" in variant.metadata:
        for name in COPYRIGHT_FIELDS:
            if name in metadata:
                image.set_type(pyvips.GValue.gstr_type, name, metadata[name])
    for kept, block in (("exif", "exif-data"), ("xmp", "xmp-data"), ("iptc", "iptc-data")):
        if kept in variant.metadata and block in metadata:
            image.set_type(pyvips.GValue.blob_type, block, metadata[block])
    if image.get_typeof("exif-data"):
        # The pixels are upright now: the old tag would turn them again.
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _kept_blocks(image: Image) -> list[str]:
    fields = image.get_fields()
    kept = ["exif"] if any(name.startswith("exif-") for name in fields) else []
    return kept + [block for block in ("xmp", "iptc") if f"{block}-data" in fields]


def _jpeg(image: Image, quality: int | None, keep: str) -> bytes:
    return bytes(image.jpegsave_buffer(Q=quality, optimize_coding=True, keep=keep))


def _webp(image: Image, quality: int | None, keep: str) -> bytes:
    return bytes(image.webpsave_buffer(Q=quality, effort=WEBP_EFFORT, keep=keep))


def _avif(image: Image, quality: int | None, keep: str) -> bytes:
    return bytes(image.heifsave_buffer(compression="av1", Q=quality, effort=AVIF_EFFORT, keep=keep))


def _png(image: Image, _: int | None, keep: str) -> bytes:
    return bytes(image.pngsave_buffer(compression=PNG_COMPRESSION, keep=keep))


def _gif(image: Image, _: int | None, keep: str) -> bytes:
    return bytes(image.gifsave_buffer(effort=GIF_EFFORT, keep=keep))


_SAVERS: Final[dict[str, Callable[[Any, int | None, str], bytes]]] = {
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "png": _png,
    "gif": _gif,
}
