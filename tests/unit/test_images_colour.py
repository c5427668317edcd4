"""Profiles that say nothing but sRGB are known, and the dominant colour is one that is there."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from tasks.images.colour import is_srgb
from tasks.images.dominant import dominant_colour
from tasks.images.metadata import exif_text

SRGB = {"r": (0.4360, 0.2225, 0.0139), "g": (0.3851, 0.7169, 0.0971), "b": (0.1431, 0.0606, 0.7141)}
P3 = {"r": (0.5151, 0.2412, -0.0011), "g": (0.2919, 0.6922, 0.0419), "b": (0.1572, 0.0666, 0.7841)}
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def profile(primaries: Mapping[str, tuple[float, ...]], curve: bytes, *, more: tuple[bytes, ...] = ()) -> bytes:
    tags = {f"{name}XYZ".encode(): b"XYZ \0\0\0\0" + fixed(*value) for name, value in primaries.items()}
    tags |= {f"{name}TRC".encode(): curve for name in "rgb"} | dict.fromkeys(more, b"mft2")
    table, body = struct.pack(">I", len(tags)), b""
    start = 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    return bytes(16) + b"RGB " + bytes(16) + b"acsp" + bytes(88) + table + body


def para(*values: float) -> bytes:
    return b"para\0\0\0\0\0\3\0\0" + fixed(*values)


def table_curve(gamma: float, count: int = 1024) -> bytes:
    values = [round((step / (count - 1)) ** gamma * 65535) for step in range(count)]
    return b"curv\0\0\0\0" + struct.pack(f">I{count}H", count, *values)


@pytest.mark.parametrize(
    ("icc", "expected"),
    [
        (profile(SRGB, para(*SRGB_CURVE)), True),
        (profile(P3, para(*SRGB_CURVE)), False),
        (profile(SRGB, table_curve(1.8)), False),
        (profile(SRGB, b"curv\0\0\0\0\0\0\0\1\2\x33"), False),
        (profile(SRGB, para(*SRGB_CURVE), more=(b"A2B0",)), False),
        (profile(SRGB, para(*SRGB_CURVE)).replace(b"RGB ", b"CMYK", 1), False),
        (profile(SRGB, para(*SRGB_CURVE))[:150], False),
        (b"", False),
    ],
)
def test_only_srgb_is_taken_for_srgb(icc: bytes, expected: bool) -> None:
    """Its primaries and its curve; anything else, and anything broken, is converted."""
    assert is_srgb(icc) is expected


@pytest.mark.parametrize(
    ("pixels", "bands", "colour"),
    [
        (bytes([200, 10, 10] * 6 + [10, 10, 200] * 5), 3, "#c80a0a"),
        (bytes([200, 10, 10, 255] * 2 + [10, 10, 200, 0] * 9), 4, "#c80a0a"),
        (bytes([10, 10, 200, 0] * 9), 4, "#ffffff"),
        (bytes([90] * 4 + [250] * 3), 1, "#5a5a5a"),
        (bytes([90, 255] * 4 + [250, 0] * 9), 2, "#5a5a5a"),
        (bytes([16, 0, 0, 18, 0, 0]), 3, "#110000"),
    ],
)
def test_the_dominant_colour_is_the_commonest(pixels: bytes, bands: int, colour: str) -> None:
    """Of what can be seen; not the mean of all, which may be nowhere in the image."""
    assert dominant_colour(pixels, bands) == colour


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ("ACME (ACME, ASCII, 5 components, 5 bytes)", "ACME"),
        ("(c) ACME (UK)  ((c) ACME (UK) , ASCII, 14 components, 14 bytes)", "(c) ACME (UK)"),
        ("a (b) c (a (b) c, ASCII, 8 components, 8 bytes)", "a (b) c"),
        ("nonsense", ""),
    ],
)
def test_exif_texts_are_taken_out_of_what_libvips_tells(told: str, text: str) -> None:
    """Brackets in a copyright are common."""
    assert exif_text(told) == text
