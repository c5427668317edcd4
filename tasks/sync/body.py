"""Reading an answer's body: never more of it than the cap, on the wire or unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from requests import Response

STEP_BYTES = 64 * 1024
ENCODINGS = "gzip"
"""What we say that we understand; nothing else is unpacked."""


class BodyTooLong(Exception):
    """The body has more bytes than the cap; ``start`` is what was read of it."""

    def __init__(self, start: bytes) -> None:
        super().__init__("the body is longer than the cap")
        self.start = start


class BodyBroken(Exception):
    """The body cannot be unpacked, or is packed in a way that we did not ask for."""


def read_body(response: Response, *, max_bytes: int) -> bytes:
    """The body, unpacked.  Raises `BodyTooLong`, `BodyBroken`, and whatever the connection raises.

    A few kilobytes of gzip can hold gigabytes, so it is unpacked in steps, each with a limit: memory stays within
    ``max_bytes`` and two steps.
    """
    parts: list[bytes] = []
    size = 0
    for part in _unpacked(response):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise BodyTooLong(b"".join(parts)[:max_bytes])
    return b"".join(parts)


def _unpacked(response: Response) -> Iterator[bytes]:
    wire = response.raw.stream(STEP_BYTES, decode_content=False)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from wire
    elif encoding in ("gzip", "x-gzip"):
        yield from _gunzipped(wire)
    else:
        raise BodyBroken(f"Content-Encoding {encoding[:40]!r} was not asked for")


def _gunzipped(wire: Iterator[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    begun = False
    try:
        for data in wire:
            begun = begun or bool(data)
            yield unpack.decompress(data, STEP_BYTES)
            while unpack.unconsumed_tail:
                yield unpack.decompress(unpack.unconsumed_tail, STEP_BYTES)
    except zlib.error as error:
        raise BodyBroken("the body is not the gzip that its header promises") from error
    if begun and not unpack.eof:
        raise BodyBroken("the gzip of the body ends too early")
