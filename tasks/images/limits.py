"""What one image may cost: checked against its header before a pixel is decoded, then held while it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one image.

    ``max_pixels``        width × height × frames
    ``max_edge``          pixels, either way
    ``max_file_bytes``    of the original
    ``max_ratio``         pixels per byte of the file, for images of more than ``ratio_from_pixels``: beyond that it is a bomb
    ``memory_mb``         of the decoder process, all it holds
    ``time_s``            for decoding and all encodings of one image
    ``budget_megapixels`` that may be decoded at once on this host; an image above it is decoded alone
    ``small_megapixels``  images up to this size do not count
    ``budget_wait_s``     how long an image waits for its share before `PixelsBusy`
    ``allow``             formats that are refused unless named here: `svg`
    """

    max_pixels: int = 120_000_000
    max_edge: int = 40_000
    max_frames: int = 600
    max_file_bytes: int = 200 * MIB
    max_ratio: int = 500
    ratio_from_pixels: int = 40_000_000
    memory_mb: int = 1024
    time_s: float = 60.0
    budget_megapixels: int = 160
    small_megapixels: int = 30
    budget_wait_s: float = 5.0
    allow: tuple[str, ...] = ()

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Limits:
        """What `as_json` gave."""
        return cls(**{**data, "allow": tuple(data["allow"])})

    def as_json(self) -> dict[str, Any]:
        """For the decoder process."""
        return asdict(self)
