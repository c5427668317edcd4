"""The dominant colour: the mean of the fullest of 512 boxes of colour, of a few hundred pixels (what a page shows meanwhile)."""

from __future__ import annotations

from typing import Final

SAMPLE_EDGE: Final = 24
OPAQUE: Final = 128
NOTHING: Final = "#ffffff"
"""Of an image that is all transparent."""


def dominant_colour(pixels: bytes, bands: int) -> str:
    """``#rrggbb`` of 8-bit pixels with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha) bands."""
    boxes: dict[int, list[int]] = {}
    for at in range(0, len(pixels) - bands + 1, bands):
        if bands in (2, 4) and pixels[at + bands - 1] < OPAQUE:
            continue
        red = pixels[at]
        green, blue = (pixels[at + 1], pixels[at + 2]) if bands >= 3 else (red, red)
        box = boxes.setdefault(red >> 5 << 6 | green >> 5 << 3 | blue >> 5, [0, 0, 0, 0])
        box[0] += 1
        box[1] += red
        box[2] += green
        box[3] += blue
    if not boxes:
        return NOTHING
    count, red, green, blue = max(boxes.values())
    return f"#{round(red / count):02x}{round(green / count):02x}{round(blue / count):02x}"
