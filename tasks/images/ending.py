"""Whether a file that could not be decoded is damaged, or merely not all there: each format says how it ends."""

from __future__ import annotations

import os
from typing import Final

_TAIL_BYTES: Final = 4096


def ends_early(descriptor: int, image_format: str) -> bool:
    """Whether the file lacks the end that its format prescribes; False for formats that have none."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    if image_format == "jpeg":
        return b"\xff\xd9" not in tail
    if image_format == "png":
        return b"IEND" not in tail
    if image_format == "gif":
        return not tail.rstrip(b"\0").endswith(b"\x3b")
    if image_format == "webp":
        return int.from_bytes(os.pread(descriptor, 4, 4), "little") + 8 > size
    return False
