"""The front door: an original and the encodings asked for → finished files in a folder, or an `ImageError`.

No Celery, no runs, no database.  The image is decoded in a process of its own (`tasks.images.decoder`): what a hostile
file does to it ends that image, never the process that asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.images.limits import Limits
from tasks.images.probe import Probed as Probed
from tasks.images.probe import opened, probe_open
from tasks.images.variants import Variant


@dataclass(frozen=True, slots=True)
class Output:
    """One finished file.  Its bytes are written but not synced; move it to where it belongs."""

    variant: str
    format: str
    path: Path
    width: int
    height: int
    frames: int
    bytes: int
    sha256: str
    dominant_colour: str
    """``#rrggbb``"""
    quality: int | None
    """What was used; for `target_bytes`, what was found."""
    notes: tuple[str, ...] = ()
    """`over_target`: even the lowest quality has more bytes than `target_bytes`."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An original and what was made of it, in the order asked for."""

    probed: Probed
    outputs: tuple[Output, ...]
    decoder_memory_kb: int | None = None
    """The decoder's peak during this image."""


class Engine:
    """Makes variants of images, one image at a time; keeps one decoder process, started when it is first needed.

    ``limits``      what an image may cost
    ``budget_dir``  a folder on this host, the same for all its workers, for the locks that keep giants apart; None: no
                    such limit

    Not for several threads at once.  After a fork the child gets a decoder of its own.
    """

    def __init__(self, limits: Limits | None = None, *, budget_dir: Path | None = None) -> None:
        self.limits = limits or Limits()
        self.budget_dir = budget_dir

    def probe(self, source: Path) -> Probed:
        """Look at the header, in this process, and hash the bytes; no pixel is decoded.

        Raises `ImageError`: missing, permission, not_a_file, empty, too_large_file, not_an_image, unsupported_format,
        too_large_dimensions, too_many_pixels, too_many_frames, suspicious_ratio, truncated, corrupt.
        """
        with opened(source) as file:
            return probe_open(file, source.name, self.limits)

    def render(
        self,
        source: Path,
        encodings: Sequence[tuple[Variant, str]],
        into: Path,
        *,
        probed: Probed | None = None,
        between: Callable[[], Any] | None = None,
    ) -> Rendered:
        """Decode ``source`` once and write each ``(variant, format)`` as a new file in the folder ``into``.

        ``probed``   what `probe` said of it earlier; raises `changed` if the file is another one by now
        ``between``  called several times a second; whatever it raises ends the work, and is raised here

        Raises `ImageError` with any code of `CODES`, and `PixelsBusy`.  Whatever is raised, no file is left in ``into``.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the decoder; the engine may be used again, and starts another."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
