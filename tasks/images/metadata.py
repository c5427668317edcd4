"""The texts in an image's metadata that are kept, by libvips' names for them."""

from __future__ import annotations

import re
from typing import Final

COPYRIGHT_FIELDS: Final = ("exif-ifd0-Copyright", "exif-ifd0-Artist")


def exif_text(told: str) -> str:
    """The value of an EXIF text as libvips tells it: ``value (value, ASCII, 6 components, 6 bytes)``."""
    for split in re.finditer(r" \(", told):
        value = told[: split.start()].rstrip()
        if told[split.end() :].startswith(value):
            return value
    return ""
