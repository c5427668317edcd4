"""What can be wrong with one image: a fixed list of codes, which people count, filter by, and act upon."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal

from tasks.errors import BadArguments

Verdict = Literal["permanent", "retry", "resources"]
"""What a caller can do: give the image up, try it again, or wait until the machine has room again."""

CODES: Final = MappingProxyType[str, tuple[Verdict, str]](
    {
        # The file, before anything is read from it.
        "outside_roots": ("permanent", "it lies outside of the folders that images may be read from"),
        "bad_name": ("permanent", "its name is not UTF-8"),
        "missing": ("permanent", "there is no such file"),
        "permission": ("permanent", "the file may not be read"),
        "not_a_file": ("permanent", "it is a directory, a device or a pipe"),
        "empty": ("permanent", "the file has no bytes"),
        "too_large_file": ("permanent", "the file has more bytes than allowed"),
        "changed": ("retry", "the file is not the one that was looked at before"),
        # Its header.
        "not_an_image": ("permanent", "the content is no image, whatever the name says"),
        "unsupported_format": ("permanent", "its format cannot be read here"),
        "too_large_dimensions": ("permanent", "it is wider or higher than allowed"),
        "too_many_pixels": ("permanent", "it has more pixels than allowed, all frames together"),
        "too_many_frames": ("permanent", "the animation has more frames than allowed"),
        "suspicious_ratio": ("permanent", "so many pixels come out of so few bytes that it is taken for a bomb"),
        # Its decoding.
        "truncated": ("permanent", "the file ends before the image does"),
        "corrupt": ("permanent", "the content is damaged"),
        "memory_limit": ("retry", "decoding or encoding needed more memory than allowed"),
        "time_limit": ("retry", "decoding and encoding took longer than allowed"),
        "decoder_killed": ("retry", "the decoder was killed or crashed on this image"),
        # Its results.
        "encode_failed": ("permanent", "a variant cannot be written in its format; the message says why"),
        "disk_full": ("resources", "there is no room for the results"),
        "not_writable": ("resources", "the results cannot be written where they should go"),
    }
)
"""Code → what a caller can do, and what it means."""


class BadVariant(BadArguments):
    """A variant that cannot be made of any image; the message names the field and says what to give instead."""


class ImagesError(Exception):
    """Base of what ends the work on one image."""


class ImageError(ImagesError):
    """One image cannot be turned into its variants.

    ``code``     one of `CODES`
    ``detail``   what was found, with numbers and limits; never the image's bytes
    ``verdict``  `permanent`: no attempt more would change it.  `retry`: it may be the moment's fault, so try again, and
                 give up after a few times.  `resources`: the machine's fault, the image waits
    """

    def __init__(self, code: str, detail: str = "") -> None:
        self.verdict, meaning = CODES[code]
        super().__init__(f"{code}: {meaning}{f' ({detail})' if detail else ''}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.code, self.detail)


class PixelsBusy(ImagesError):
    """Other large images are being decoded on this host: come back after ``retry_after_s`` seconds; nothing was done."""

    def __init__(self, megapixels: int, budget: int, *, retry_after_s: float) -> None:
        super().__init__(
            f"{megapixels} megapixels have no room beside the others on this host now (budget: {budget} megapixels)"
        )
        self.retry_after_s = retry_after_s


class DestRefused(BadArguments):
    """Results may not go to ``path``; the message says why and what to give instead."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
