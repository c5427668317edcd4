"""A variant: what is to be made of every image, whatever its size; a frozen value, checked when it is made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from tasks.images.errors import BadVariant

ENGINE_VERSION: Final = 1
"""Raised whenever the same spec would give another picture, so that what exists is made anew."""

FITS: Final = ("inside", "cover", "contain", "fill")
FOCUSES: Final = ("centre", "attention", "entropy")
FORMATS: Final = ("jpeg", "webp", "avif", "png", "gif")
FRAMES: Final = ("first", "all")
METADATA: Final = ("copyright", "exif", "xmp", "iptc")
DEFAULT_QUALITY: Final = {"jpeg": 82, "webp": 80, "avif": 55}
"""The formats that have a quality; PNG and GIF have none."""
MAX_EDGE: Final = {"jpeg": 65_500, "webp": 16_383, "avif": 2_560, "png": 65_500, "gif": 16_383}
"""Longest edge in pixels: of JPEG, WebP and GIF the format's own or less, of AVIF what its encoder does in bounded time."""
MIN_TARGET_BYTES: Final = 256

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_COLOUR = re.compile(r"#(?:[0-9a-f]{6}|[0-9a-f]{8})\Z")
_ALIASES = {"jpg": "jpeg", "center": "centre"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One picture to be made of an image, in one or more formats.

    ``name``          lower-case letters, digits, ``-``, ``_``; how the manifest and ``srcset`` call it
    ``width``, ``height``  pixels of the box.  ``inside`` needs one of the two, the other fits both
    ``fit``           `inside`: the whole image, no larger than the box; `cover`: the box filled, the rest cut off;
                      `contain`: the whole image on a ``background`` of the box's size; `fill`: stretched to the box
    ``focus``         of `cover`, what stays: `centre`, `attention` (what draws the eye), `entropy`, or ``(x, y)`` in parts
                      of the upright image, from (0, 0) top left to (1, 1) bottom right
    ``background``    ``#rrggbb``, ``#rrggbbaa`` or `transparent`: around `contain`, and under transparent images in JPEG,
                      which knows no transparency (there `transparent` means white)
    ``formats``       of `FORMATS`
    ``quality``       1 to 100, for all formats or as format → quality; the rest as in `DEFAULT_QUALITY`
    ``target_bytes``  instead of a quality: the best one that stays within so many bytes, found in a bounded search
    ``upscale``       whether small images are enlarged.  If not, `inside` gives them as they are, `cover` the largest part
                      of the box's shape, `contain` puts them on the box unscaled, `fill` leaves the short sides as they are
    ``frames``        `first`, or `all` for animations in WebP and GIF (the other formats take the first)
    ``metadata``      what is kept: `copyright` (the EXIF fields Copyright and Artist), `exif` (all of it, with where the
                      photograph was taken), `xmp`, `iptc`
    ``colour``        `srgb`: converted to sRGB, without a profile

    Raises `BadVariant`.
    """

    name: str
    width: int | None = None
    height: int | None = None
    fit: str = "inside"
    focus: str | tuple[float, float] = "centre"
    background: str = "#ffffff"
    formats: tuple[str, ...] = ("jpeg",)
    quality: int | Mapping[str, int] | tuple[tuple[str, int], ...] | None = None
    target_bytes: int | None = None
    upscale: bool = False
    frames: str = "first"
    metadata: tuple[str, ...] = ("copyright",)
    colour: str = "srgb"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.match(self.name):
            raise BadVariant(
                f"variant name={self.name!r}: lower-case letters, digits, - and _, starting with a letter or a digit, "
                "at most 64"
            )
        self._set("fit", self._one_of("fit", self.fit, FITS))
        self._set("formats", self._some_of("formats", self.formats, FORMATS))
        if not self.formats:
            raise self._bad("formats", self.formats, f"give at least one of {', '.join(FORMATS)}")
        self._check_box()
        self._set("focus", self._focus())
        self._set("background", self._background())
        self._set("quality", self._quality())
        if self.target_bytes is not None and (
            not _is_count(self.target_bytes) or self.target_bytes < MIN_TARGET_BYTES or not self._lossy()
        ):
            raise self._bad(
                "target_bytes", self.target_bytes, f"a number from {MIN_TARGET_BYTES}, with a format that has a quality"
            )
        self._set("frames", self._one_of("frames", self.frames, FRAMES))
        self._set("metadata", self._some_of("metadata", self.metadata, METADATA))
        self._set("colour", self._one_of("colour", self.colour, ("srgb",)))
        if not isinstance(self.upscale, bool):
            raise self._bad("upscale", self.upscale, "True or False")

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Variant:
        """The variant that ``data`` describes, as `as_json` gives it or as a person writes it; raises `BadVariant`."""
        if not isinstance(data, Mapping):
            raise BadVariant(f"variant {data!r}: give an object such as {{'name': 'small', 'width': 480}}")
        unknown = sorted(set(data) - {field.name for field in fields(cls)}, key=str)
        if unknown:
            known = ", ".join(field.name for field in fields(cls))
            raise BadVariant(f"variant {data.get('name')!r}: it has no {unknown[0]!r}; there are: {known}")
        if "name" not in data:
            raise BadVariant("a variant has no name: give name='…'")
        return cls(**data)

    def as_json(self) -> dict[str, Any]:
        """All fields, defaults included, as JSON takes them; `of_json` gives the variant back."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found["quality"] = dict(self.quality) if isinstance(self.quality, tuple) else self.quality
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def canonical_json(self) -> str:
        """`as_json` in the one text that equal variants have in common."""
        return json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))

    def spec_hash(self, image_format: str) -> str:
        """SHA-256 (64 hex digits) of all that decides the bytes of this variant in ``image_format``, the engine's version too.

        Neither the name nor the other formats are in it: a variant renamed, or given one format more, keeps what exists.
        """
        if image_format not in self.formats:
            raise ValueError(f"variant {self.name} is not made in {image_format}")
        spec = self.as_json()
        del spec["name"], spec["formats"]
        spec |= {"format": image_format, "quality": self.quality_for(image_format), "engine": ENGINE_VERSION}
        if image_format not in DEFAULT_QUALITY:
            spec["target_bytes"] = None
        if image_format not in ("webp", "gif"):
            spec["frames"] = "first"
        if self.fit != "cover":
            spec["focus"] = "centre"
        return hashlib.sha256(json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def quality_for(self, image_format: str) -> int | None:
        """The quality in ``image_format``; None where the format has none, or where the size decides."""
        if image_format not in DEFAULT_QUALITY or self.target_bytes is not None:
            return None
        given = self.quality
        if isinstance(given, Mapping | tuple):
            return dict(given).get(image_format, DEFAULT_QUALITY[image_format])
        return DEFAULT_QUALITY[image_format] if given is None else given

    def _check_box(self) -> None:
        longest = min(MAX_EDGE[each] for each in self.formats)
        for field, edge in (("width", self.width), ("height", self.height)):
            if edge is not None and (not _is_count(edge) or not 1 <= edge <= longest):
                raise self._bad(field, edge, f"a whole number of pixels from 1 to {longest}, in {self._format_names()}")
        if self.fit == "inside" and self.width is None and self.height is None:
            raise self._bad("width", None, "give a width, a height, or both")
        if self.fit != "inside" and (self.width is None or self.height is None):
            raise self._bad("fit", self.fit, "it needs both a width and a height")

    def _focus(self) -> str | tuple[float, float]:
        if isinstance(self.focus, str):
            return self._one_of("focus", self.focus, FOCUSES)
        point = self.focus
        if (
            isinstance(point, Sequence)
            and len(point) == 2
            and all(isinstance(part, int | float) and not isinstance(part, bool) and 0 <= part <= 1 for part in point)
        ):
            return (float(point[0]), float(point[1]))
        raise self._bad("focus", point, f"one of {', '.join(FOCUSES)}, or (x, y) with both from 0 to 1")

    def _background(self) -> str:
        given = self.background.lower() if isinstance(self.background, str) else self.background
        if given == "transparent":
            return given
        if not isinstance(given, str) or not _COLOUR.match(given):
            raise self._bad("background", self.background, "#rrggbb, #rrggbbaa or transparent")
        return given.removesuffix("ff") if len(given) == 9 else given

    def _quality(self) -> int | tuple[tuple[str, int], ...] | None:
        given = self.quality
        if given is None:
            return None
        if self.target_bytes is not None:
            raise self._bad("quality", given, "either a quality or target_bytes, not both")
        if isinstance(given, tuple):
            given = dict(given)
        if not isinstance(given, Mapping):
            self._check_quality(given)
            return given
        by_format = {_ALIASES.get(key, key) if isinstance(key, str) else key: value for key, value in given.items()}
        for each, value in by_format.items():
            if each not in DEFAULT_QUALITY or each not in self.formats:
                raise self._bad("quality", each, f"formats of this variant that have one: {', '.join(self._lossy())}")
            self._check_quality(value)
        return tuple(sorted(by_format.items()))

    def _check_quality(self, value: object) -> None:
        if not _is_count(value) or not 1 <= value <= 100:  # type: ignore[operator]
            raise self._bad("quality", value, "a whole number from 1 to 100, or format → number")

    def _lossy(self) -> list[str]:
        return [each for each in self.formats if each in DEFAULT_QUALITY]

    def _format_names(self) -> str:
        return ", ".join(self.formats)

    def _one_of(self, field: str, value: object, allowed: Sequence[str]) -> str:
        known = _ALIASES.get(value, value) if isinstance(value, str) else value
        if not isinstance(known, str) or known not in allowed:
            raise self._bad(field, value, f"one of {', '.join(allowed)}")
        return known

    def _some_of(self, field: str, value: object, allowed: Sequence[str]) -> tuple[str, ...]:
        """In the order of ``allowed``, each once, so that equal variants are equal."""
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, Sequence):
            raise self._bad(field, value, f"a list of {', '.join(allowed)}")
        found = {self._one_of(field, member, allowed) for member in given}
        return tuple(member for member in allowed if member in found)

    def _bad(self, field: str, value: object, instead: str) -> BadVariant:
        return BadVariant(f"variant {self.name!r}: {field}={value!r}: {instead}")

    def _set(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)


def check_variants(variants: Sequence[Mapping[str, Any] | Variant]) -> tuple[Variant, ...]:
    """All variants of a batch, checked; raises `BadVariant` if one is wrong, two have one name, or there are none."""
    found = tuple(variant if isinstance(variant, Variant) else Variant.of_json(variant) for variant in variants)
    if not found:
        raise BadVariant("variants is empty: give at least one, e.g. {'name': 'small', 'width': 480}")
    names = [variant.name for variant in found]
    for name in names:
        if names.count(name) > 1:
            raise BadVariant(f"two variants are called {name!r}: names must differ")
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
