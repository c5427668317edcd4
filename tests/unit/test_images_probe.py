"""What a file is, is known before anything decodes it, in a few milliseconds, whatever it contains."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.images.engine import Engine
from tasks.images.errors import CODES, ImageError
from tasks.images.headers import exif_orientation
from tasks.images.limits import Limits
from tasks.images.probe import check_header
from tests.images_lab import Lab


def refusal(path: Path, limits: Limits | None = None) -> ImageError:
    with pytest.raises(ImageError) as refused:
        Engine(limits).probe(path)
    return refused.value


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("rgb.jpg", ("jpeg", 400, 300, 1, 1)),
        ("progressive.jpg", ("jpeg", 400, 300, 1, 1)),
        ("cmyk.jpg", ("jpeg", 400, 300, 1, 1)),
        ("rgb.png", ("png", 400, 300, 1, 1)),
        ("rgb.webp", ("webp", 400, 300, 1, 1)),
        ("half.webp", ("webp", 400, 300, 1, 1)),
        ("rgb.avif", ("avif", 400, 300, 1, 1)),
        ("rgb.gif", ("gif", 400, 300, 1, 1)),
        ("rgb.tif", ("tiff", 400, 300, 1, 1)),
        ("big.tif", ("tiff", 400, 300, 1, 1)),
        ("moving.gif", ("gif", 40, 30, 5, 1)),
        ("moving.webp", ("webp", 40, 30, 5, 1)),
        *((f"orientation-{n}.jpg", ("jpeg", *((300, 400) if n > 4 else (400, 300)), 1, n)) for n in range(1, 9)),
        *((f"orientation-6.{ending}", (kind, 300, 400, 1, 6)) for ending, kind in (("png", "png"), ("webp", "webp"))),
        ("orientation-6.tif", ("tiff", 300, 400, 1, 6)),
    ],
)
def test_headers_are_read_without_a_library(lab: Lab, samples: Path, name: str, found: tuple[object, ...]) -> None:
    """Format, size as stored, frames, orientation."""
    probed = Engine().probe(samples / name)
    assert (probed.format, probed.width, probed.height, probed.frames, probed.orientation) == found
    assert probed.notes == ()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", b"x")
    )


GIF_BOMB = (
    b"GIF89a"
    + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0)
    + bytes(6)
    + b"\x2c"
    + struct.pack("<HHHHB", 0, 1_066, 65_535, 65_535, 0)
    + b"\x02\x02\x44\x01\x00\x3b"
)


@pytest.mark.parametrize(
    ("name", "data", "code", "said"),
    [
        ("bomb.png", png_header(30_000, 30_000) + bytes(875_000), "too_many_pixels", "30000×30000"),
        ("bomb.gif", GIF_BOMB, "too_large_dimensions", "65535×66601"),
        ("long.png", png_header(50_000, 10), "too_large_dimensions", "50000×10"),
        ("flat.png", png_header(10_000, 9_000) + bytes(100_000), "suspicious_ratio", "90000000 pixels from"),
        ("cut.gif", GIF_BOMB[:-4], "too_large_dimensions", "65535×66601"),
        ("none.png", png_header(0, 10), "corrupt", "0×10"),
    ],
)
def test_bombs_are_refused_by_their_headers(tmp_path: Path, name: str, data: bytes, code: str, said: str) -> None:
    """In under 50 ms: nothing is unpacked."""
    bomb = tmp_path / name
    bomb.write_bytes(data)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        refused = refusal(bomb)
        times.append(time.perf_counter() - began)
    assert (refused.code, said in str(refused)) == (code, True)
    assert min(times) < 0.05


def test_limits_count_frames_and_bytes(lab: Lab, samples: Path) -> None:
    """Five small frames are as much as one large image."""
    assert refusal(samples / "moving.gif", Limits(max_frames=4)).code == "too_many_frames"
    assert refusal(samples / "moving.webp", Limits(max_frames=4)).code == "too_many_frames"
    assert refusal(samples / "moving.gif", Limits(max_pixels=40 * 30 * 5 - 1)).code == "too_many_pixels"
    assert Engine(Limits(max_pixels=40 * 30 * 5, max_frames=5)).probe(samples / "moving.gif").pixels == 6000
    assert refusal(samples / "rgb.png", Limits(max_file_bytes=1000)).code == "too_large_file"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("a.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0heicmif1", "HEIC"),
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "video"),
        ("a.jxl", b"\xff\x0a\0\0", "JPEG XL"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        ("a.bmp", b"BM\0\0\0\0", "BMP"),
        ("a.ico", b"\0\0\1\0\1\0", "ICO"),
        ("a.psd", b"8BPS\0\1", "Photoshop"),
        ("a.pdf", b"%PDF-1.7\n", "PDF"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        ("a.jpg", b"\xef\xbb\xbf<svg/>", "SVG"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\2\0", "CR2"),
        ("a.nef", b"MM\0*\0\0\0\x08", "NEF"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
        ("a.raf", b"FUJIFILMCCD-RAW 0201", "RAF"),
        ("a.exr", b"\x76\x2f\x31\x01", "OpenEXR"),
        ("a.ppm", b"P6\n1 1\n255\n", "PNM"),
    ],
)
def test_formats_that_cannot_be_read_are_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """So that whoever sees the dead letter knows what to convert."""
    (tmp_path / name).write_bytes(data)
    refused = refusal(tmp_path / name)
    assert (refused.code, said in refused.detail) == ("unsupported_format", True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!DOCTYPE html><html>404 not found</html>", "HTML"),
        (b"\n\n <HTML><body>", "HTML"),
        (b'{"error": "not found"}', "text"),
        (b"PK\x03\x04abc", "ZIP"),
        (bytes(100), "00 00"),
    ],
)
def test_what_is_no_image_is_not_one_by_its_name(tmp_path: Path, data: bytes, said: str) -> None:
    """The usual find under such a name is a server's error page."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    refused = refusal(path)
    assert (refused.code, said in refused.detail) == ("not_an_image", True)


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its own code; a pipe that nobody writes to does not block."""
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    codes = [refusal(tmp_path / name).code for name in ("missing.jpg", "empty.jpg", "pipe.jpg", ".", "empty.jpg/a.jpg")]
    assert codes == ["missing", "empty", "not_a_file", "not_a_file", "missing"]

    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    # As root, which the tests may run as, every file can be read.
    monkeypatch.setattr(os, "open", denied)
    assert refusal(tmp_path / "empty.jpg").code == "permission"


def test_the_same_bytes_have_the_same_hash(lab: Lab, samples: Path, tmp_path: Path) -> None:
    """Under any name; and a wrong name is noted."""
    (tmp_path / "b.png").write_bytes((samples / "rgb.jpg").read_bytes())
    one, other = Engine().probe(samples / "rgb.jpg"), Engine().probe(tmp_path / "b.png")
    assert (one.sha256, one.notes, other.notes) == (other.sha256, (), ("wrong_extension",))
    assert replace(one, notes=(), signature=()) == replace(other, notes=(), signature=())


MAGIC = [
    *(
        b"\xff\xd8\xff\xe1",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPVP8 ",
    ),
    *(b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", b"<svg ", b""),
]


@given(st.sampled_from(MAGIC), st.binary(max_size=400))
@settings(max_examples=500, deadline=None)
def test_no_header_breaks_the_reader(magic: bytes, rest: bytes) -> None:
    """Whatever the bytes: a header within the limits, or an error with a code."""
    data = magic + rest
    try:
        _, header = check_header(io.BufferedReader(io.BytesIO(data)), len(data), ".jpg", Limits(allow=("svg",)))
    except ImageError as error:
        said = error.code
    else:
        said = ""
        assert 1 <= header.width <= 40_000 and 1 <= header.height <= 40_000 and 1 <= header.orientation <= 8
    assert said in {"", *CODES}


def test_a_gif_of_a_million_tiny_blocks_is_given_up(tmp_path: Path) -> None:
    """Counting frames costs no more than a second or so, however the file is built."""
    bomb = tmp_path / "a.gif"
    bomb.write_bytes(b"GIF89a\1\0\1\0\0\0\0\x21\xfe" + b"\1x" * 1_100_000 + b"\0\x3b")
    assert refusal(bomb).code == "corrupt"


@given(st.binary(max_size=120))
def test_no_exif_breaks_the_orientation(data: bytes) -> None:
    """What makes no sense is upright."""
    assert 1 <= exif_orientation(b"II*\0" + data) <= 8
    assert 1 <= exif_orientation(data) <= 8
