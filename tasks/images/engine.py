"""The front door: an original and the encodings asked for → finished files in a folder, or an `ImageError`.

No Celery, no runs, no database.  The image is decoded in a process of its own (`tasks.images.decoder`): what a hostile
file does to it ends that image, never the process that asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tasks.images.budget import pixels_reserved
from tasks.images.decoder import Decoder
from tasks.images.errors import ImageError
from tasks.images.limits import Limits
from tasks.images.probe import Probed, opened, probe_open, signature
from tasks.images.variants import Variant

__all__ = ["Engine", "Output", "Probed", "Rendered"]

EXTENSIONS: Final = {"jpeg": "jpg", "webp": "webp", "avif": "avif", "png": "png", "gif": "gif"}


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
        self._decoder: Decoder | None = None

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
        if not encodings:
            raise ValueError("no encodings are asked for")
        with opened(source) as file:
            before = signature(file)
            if probed is None:
                probed = probe_open(file, source.name, self.limits)
            elif probed.signature != before:
                raise ImageError("changed", str(source))
            with (
                pixels_reserved(probed.pixels, self.limits, self.budget_dir, between),
                _files(into, encodings) as paths,
            ):
                answer = self._ask(file.fileno(), probed, encodings, paths, between)
                if signature(file) != before:
                    # Written to while it was read: what was made is of neither the one content nor the other.
                    raise ImageError("changed", str(source))
        return Rendered(probed, tuple(_outputs(encodings, paths, answer)), answer.get("peak_kb"))

    def close(self) -> None:
        """End the decoder; the engine may be used again, and starts another."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def _ask(
        self,
        descriptor: int,
        probed: Probed,
        encodings: Sequence[tuple[Variant, str]],
        paths: Sequence[Path],
        between: Callable[[], Any] | None,
    ) -> dict[str, Any]:
        variants = list(dict.fromkeys(variant for variant, _ in encodings))
        request = {
            "format": probed.format,
            "variants": [variant.as_json() for variant in variants],
            "encodings": [
                [variants.index(variant), image_format, str(path)]
                for (variant, image_format), path in zip(encodings, paths, strict=True)
            ],
            "limits": self.limits.as_json(),
        }
        if self._decoder is None or not self._decoder.usable:
            self.close()
            self._decoder = Decoder(self.limits.memory_mb)
        answer = self._decoder.ask(request, descriptor, self.limits, between)
        if "error" in answer:
            code, detail = answer["error"]
            raise ImageError(code, detail or (f"{self.limits.memory_mb} MiB" if code == "memory_limit" else ""))
        return answer

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _files(into: Path, encodings: Sequence[tuple[Variant, str]]) -> Iterator[list[Path]]:
    """A name for each output; none of the files is left if anything goes wrong, also when the decoder dies in mid-write."""
    token = uuid.uuid4().hex[:12]
    paths = [
        into.resolve() / f"{token}-{number}.{EXTENSIONS[image_format]}"
        for number, (_, image_format) in enumerate(encodings)
    ]
    try:
        yield paths
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def _outputs(
    encodings: Sequence[tuple[Variant, str]], paths: Sequence[Path], answer: dict[str, Any]
) -> Iterator[Output]:
    for (variant, image_format), path, told in zip(encodings, paths, answer["outputs"], strict=True):
        yield Output(variant=variant.name, format=image_format, path=path, **{**told, "notes": tuple(told["notes"])})
