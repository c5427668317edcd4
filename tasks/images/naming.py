"""The names of results: by content and spec, and by the result's own bytes, so that a file of a name never changes.

``ab/cdef…-1440x1080-<spec>-<bytes>.webp``: the first two digits and the rest of the original's SHA-256, the size, then the first 16
digits of the spec's hash and 8 of the result's.  Whoever caches one may keep it for ever.  The folders are 256, whatever the number
of images: a folder for each image would cost another flush of the disk for each.
"""

from __future__ import annotations

import re

_EXTENSIONS = {"jpeg": "jpg"}
_RESULT = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})-\d+x\d+-[0-9a-f]{16}-[0-9a-f]{8}\.[a-z]+\Z")


def result_name(content_hash: str, spec_hash: str, image_format: str, width: int, height: int, sha256: str) -> str:
    """Where a result lies, relative to its destination."""
    extension = _EXTENSIONS.get(image_format, image_format)
    return f"{content_hash[:2]}/{content_hash[2:]}-{width}x{height}-{spec_hash[:16]}-{sha256[:8]}.{extension}"


def content_of(name: str) -> str | None:
    """The content hash that a result's name begins with; None if it is no result's name, and so none of ours."""
    found = _RESULT.match(name)
    return found[1] + found[2] if found else None
