"""Decoding: from an open file to an upright picture in sRGB, no larger than needed.  Runs in the decoder process alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyvips

from tasks.images.colour import is_srgb
from tasks.images.geometry import common_size, lay_out
from tasks.images.headers import Header
from tasks.images.limits import Limits
from tasks.images.metadata import COPYRIGHT_FIELDS, exif_text
from tasks.images.probe import check_limits
from tasks.images.variants import METADATA, Variant

# A cached operation keeps its image, and with it the file's decoder, for as long as the process lives.
pyvips.cache_set_max(0)

Image = Any
"""A `pyvips.Image`; pyvips has no types."""

KERNEL: Final = "lanczos3"
SHRINK_SLACK: Final = {8: 9.0, 4: 4.0, 2: 2.0}
"""JPEGs are decoded at an eighth, a quarter or half of their size where they are to be at least so many times smaller:
with these numbers no result is more than 0.2 dB from one that was decoded in full (bench/images_quality.py)."""

_LOADERS: Final = {
    "jpeg": "jpegload_source",
    "png": "pngload_source",
    "gif": "gifload_source",
    "webp": "webpload_source",
    "avif": "heifload_source",
    "tiff": "tiffload_source",
    "svg": "svgload_source",
}
_PAGED: Final = ("gif", "webp")
_BLOCKS: Final = {"exif": "exif-data", "xmp": "xmp-data", "iptc": "iptc-data"}


@dataclass(frozen=True)
class Picture:
    """Upright frames in sRGB or grey, 8 bits, in memory and of one size, with what belongs to them."""

    frames: Sequence[Image]
    upright_size: tuple[int, int]
    """Of the original, turned upright."""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Image:
        """The first frame."""
        return self.frames[0]

    def only_first(self) -> Picture:
        """As a still image."""
        return replace(self, frames=self.frames[:1])


def decode(
    descriptor: int,
    image_format: str,
    variants: Sequence[Variant],
    *,
    all_frames: bool,
    limits: Limits,
    strict: bool = True,
) -> Picture:
    """The picture that all of ``variants`` can be made from, decoded once from an open file.

    Its size is that of the largest variant.  Making a smaller one from it instead of from the original costs 0.03 dB
    at most (bench/images_quality.py), and saves a decoding each.

    ``strict``  whether a JPEG that libjpeg warns of is refused

    Raises `ImageError`; errors of the library are the caller's to translate.
    """
    image = _open(descriptor, image_format, strict, all_frames=all_frames)
    orientation = image.get("orientation") if image.get_typeof("orientation") else 1
    turned = 5 <= orientation <= 8
    height = image.get_page_height()
    frames = max(1, image.height // height)
    check_limits(Header(image.width, height, frames), 1 << 62, limits)
    upright = (height, image.width) if turned else (image.width, height)
    layouts = [lay_out(*upright, variant) for variant in variants]
    wide, high = common_size(*upright, layouts)
    raw = (high, wide) if turned else (wide, high)
    shrink = jpeg_shrink((image.width, height), raw) if image_format == "jpeg" else 1
    metadata = _metadata(image, variants)
    if shrink > 1:
        image = _open(descriptor, image_format, strict, all_frames=False, shrink=shrink)
    elif image_format == "svg":
        image = _open(
            descriptor, image_format, strict, all_frames=False, scale=max(wide / upright[0], high / upright[1])
        )
    if frames == 1:
        # Still lazy up to here: one pass from the file to the small picture.
        done = [_finish(image, raw, orientation).copy_memory()]
    else:
        done = [
            _finish(image.crop(0, number * height, image.width, height), raw, orientation).copy_memory()
            for number in range(frames)
        ]
    return Picture(done, upright, metadata)


def jpeg_shrink(size: tuple[int, int], wanted: tuple[int, int]) -> int:
    """By how much libjpeg may scale a JPEG of ``size`` while decoding, if it is to be resized to ``wanted`` afterwards."""
    factor = min(size[0] / wanted[0], size[1] / wanted[1])
    return next((shrink for shrink, least in SHRINK_SLACK.items() if factor >= least), 1)


def resized(image: Image, width: int, height: int) -> Image:
    """The image at exactly ``width`` × ``height`` pixels; where there is transparency, without colour from beneath it."""
    if (image.width, image.height) == (width, height):
        return image
    alpha = image.hasalpha()
    kind = image.format
    if alpha:
        image = image.premultiply()
    image = image.resize(width / image.width, vscale=height / image.height, kernel=KERNEL)
    if alpha:
        image = image.unpremultiply().cast(kind)
    if (image.width, image.height) != (width, height):
        image = image.gravity("centre", width, height, extend="copy")
    return image


def _open(descriptor: int, image_format: str, strict: bool, *, all_frames: bool, **options: Any) -> Image:
    if all_frames and image_format in _PAGED:
        options["n"] = -1
    if image_format == "svg":
        # Blocked as untrusted; whoever allowed it has decided to trust it.
        pyvips.operation_block_set("VipsForeignLoadSvg", False)
    # Without it libvips fills truncated files up with grey, and says nothing.  Of JPEGs alone a warning can mean that
    # pixels are wrong; other loaders warn of unknown tags.
    options["fail_on"] = "warning" if strict and image_format == "jpeg" else "truncated"
    source = pyvips.Source.new_from_descriptor(descriptor)
    return getattr(pyvips.Image, _LOADERS[image_format])(source, access="sequential", **options)


def _finish(image: Image, size: tuple[int, int], orientation: int) -> Image:
    image = _to_srgb(resized(image, *size))
    if orientation > 1:
        image = image.copy_memory().autorot()
    return image


def _to_srgb(image: Image) -> Image:
    """8 bits in sRGB or grey, with or without transparency; through the profile, where there is one that says more."""
    profile = image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None
    space = image.interpretation
    if profile is not None and not is_srgb(bytes(profile)) and image.coding == "none":
        image = _through_profile(image, space)
    elif space == "cmyk":
        # CMYK says nothing without a profile: the one that libvips carries stands for offset printing in general.
        image = image.icc_transform("srgb", input_profile="cmyk", intent="relative", black_point_compensation=True)
    grey = image.interpretation in ("b-w", "grey16")
    if image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("b-w" if grey else "srgb")
    if image.format != "uchar":
        image = image.cast("uchar")
    most = 2 if grey else 4
    return image.extract_band(0, n=most) if image.bands > most else image


def _through_profile(image: Image, space: str) -> Image:
    options = {"embedded": True, "intent": "relative", "black_point_compensation": True, "depth": 8}
    if space == "cmyk":
        options["input_profile"] = "cmyk"
    try:
        converted = image.icc_transform("srgb", **options)
    except pyvips.Error:
        # A profile that does not fit its image or is damaged: what browsers do is to leave it out.
        return image
    return converted.colourspace("b-w") if space in ("b-w", "grey16") else converted


def _metadata(image: Image, variants: Sequence[Variant]) -> dict[str, Any]:
    """What any of the variants keeps, by libvips' names."""
    kept = {name for variant in variants for name in variant.metadata}
    found: dict[str, Any] = {}
    if "copyright" in kept:
        for name in COPYRIGHT_FIELDS:
            if image.get_typeof(name):
                found[name] = exif_text(str(image.get(name)))
    for name in METADATA:
        block = _BLOCKS.get(name)
        if name in kept and block and image.get_typeof(block):
            found[block] = bytes(image.get(block))
    return {name: value for name, value in found.items() if value}
