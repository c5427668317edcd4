"""Colour profiles: which of them say nothing but sRGB, so that converting would cost time and change nothing (ICC.1:2022)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

_COLORANTS: Final = {
    # IEC 61966-2-1, adapted to D50 as profiles have them.
    b"rXYZ": (0.4360, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
_COLORANT_TOLERANCE: Final = 0.002
_CURVE_TOLERANCE: Final = 0.004
"""In linear light, of 1: less than one step in 8 bits wherever steps can be told apart."""


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile of matrix and curves describes sRGB; False for whatever cannot be read."""
    try:
        if profile[16:20] != b"RGB " or profile[36:40] != b"acsp":
            return False
        tags = _tags(profile)
        if b"A2B0" in tags:
            return False
        for tag, expected in _COLORANTS.items():
            found = struct.unpack_from(">3i", tags[tag], 8)
            if any(abs(part / 65536 - want) > _COLORANT_TOLERANCE for part, want in zip(found, expected, strict=True)):
                return False
        return all(_is_srgb_curve(tags[tag]) for tag in (b"rTRC", b"gTRC", b"bTRC"))
    except (struct.error, KeyError, IndexError):
        return False


def srgb_to_linear(value: float) -> float:
    """The light of an sRGB value, both from 0 to 1 (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for at in range(132, 132 + 12 * min(count, 100), 12):
        name, offset, size = struct.unpack_from(">4sII", profile, at)
        tags[name] = profile[offset : offset + size]
    return tags


def _is_srgb_curve(curve: bytes) -> bool:
    samples = [step / 32 for step in range(33)]
    if curve[:4] == b"curv":
        (count,) = struct.unpack_from(">I", curve, 8)
        if count < 32:
            # A single gamma (Adobe RGB's way), or no curve at all.
            return False
        table = struct.unpack_from(f">{count}H", curve, 12)
        found = [table[round(sample * (count - 1))] / 65535 for sample in samples]
        samples = [round(sample * (count - 1)) / (count - 1) for sample in samples]
    elif curve[:4] == b"para" and struct.unpack_from(">H", curve, 8)[0] == 3:
        gamma, a, b, c, d = (part / 65536 for part in struct.unpack_from(">5i", curve, 12))
        found = [(a * sample + b) ** gamma if sample >= d else c * sample for sample in samples]
    else:
        return False
    return all(
        abs(light - srgb_to_linear(sample)) <= _CURVE_TOLERANCE for light, sample in zip(found, samples, strict=True)
    )
