"""What a file is by its first bytes: a format that can be read, one that is known by name, or no image at all."""

from __future__ import annotations

from typing import Final

from tasks.images.errors import ImageError

HEAD_BYTES: Final = 4096

_READABLE: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_KNOWN: Final = (
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"BM", "BMP"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x02\x00", "CUR"),
    (b"icns", "ICNS"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"gimp xcf", "GIMP (XCF)"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"SIMPLE  =", "FITS"),
    (b"qoif", "QOI"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x59\xa6\x6a\x95", "Sun raster"),
    (b"\x01\xda", "SGI"),
    (b"\x8aMNG", "MNG"),
    (b"\x8bJNG", "JNG"),
    (b"AT&TFORM", "DjVu"),
    (b"BPG\xfb", "BPG"),
    (b"FLIF", "FLIF"),
    (b"\xab\x4b\x54\x58", "KTX"),
    (b"FUJIFILMCCD-RAW", "RAW (Fujifilm RAF)"),
    (b"IIU\0", "RAW (Panasonic RW2)"),
    (b"IIRO", "RAW (Olympus ORF)"),
    (b"IIRS", "RAW (Olympus ORF)"),
    (b"MMOR", "RAW (Olympus ORF)"),
    (b"FOVb", "RAW (Sigma X3F)"),
    (b"HEAPCCDR", "RAW (Canon CRW)"),
)
_BRANDS: Final = (
    # ISO/IEC 23008-12 and the brands' own specifications.  AVIF first: its files may carry general brands too.
    (("avif", "avis"), "avif"),
    (("heic", "heix", "hevc", "hevx", "heim", "heis", "hevm", "hevs"), "HEIC"),
    (("crx ",), "RAW (Canon CR3)"),
    (("jxl ",), "JPEG XL"),
    (("mif1", "msf1"), "HEIF"),
)
_RAW_TIFFS: Final = {".cr2", ".nef", ".nrw", ".arw", ".sr2", ".srf", ".dng", ".pef", ".srw", ".3fr", ".iiq", ".erf"}
_EXTENSIONS: Final = {
    "jpeg": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "png": {".png", ".apng"},
    "gif": {".gif"},
    "webp": {".webp"},
    "avif": {".avif", ".avifs"},
    "tiff": {".tif", ".tiff"},
    "svg": {".svg"},
}
_NO_IMAGES: Final = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"ID3", "MP3 audio"),
    (b"OggS", "an Ogg file"),
)


def sniff(head: bytes, extension: str = "", *, allow: tuple[str, ...] = ()) -> str:
    """The format of a file that begins with ``head`` (`HEAD_BYTES` of them, or all): jpeg, png, gif, webp, avif, tiff, svg.

    ``extension``  of the name, ``.nef``: only to call a camera's RAW file by its name, for many of them are TIFF inside
    ``allow``      formats that are refused otherwise: `svg`

    Raises `ImageError`: unsupported_format or not_an_image.
    """
    for magic, known in _READABLE:
        if head.startswith(magic):
            return known
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(_TIFF):
        return _tiff(head, extension.lower())
    if head[4:8] == b"ftyp":
        return _boxed(head)
    for magic, name in _KNOWN:
        if head.startswith(magic):
            raise ImageError("unsupported_format", f"{name}; convert it to JPEG, PNG, WebP, AVIF, GIF or TIFF first")
    if b"%PDF-" in head[:1024]:
        raise ImageError("unsupported_format", "PDF; documents are refused, render its pages to PNG first")
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        raise ImageError("unsupported_format", "PNM; convert it to PNG first")
    return _text(head, allow)


def wrong_extension(image_format: str, extension: str) -> bool:
    """Whether a name's extension promises something else than ``image_format``; no extension promises nothing."""
    return bool(extension) and extension.lower() not in _EXTENSIONS[image_format]


def _tiff(head: bytes, extension: str) -> str:
    if head[8:10] == b"CR":
        raise ImageError("unsupported_format", "RAW (Canon CR2); develop it to TIFF or JPEG first")
    if extension in _RAW_TIFFS:
        raise ImageError("unsupported_format", f"RAW ({extension[1:].upper()}); develop it to TIFF or JPEG first")
    return "tiff"


def _boxed(head: bytes) -> str:
    size = int.from_bytes(head[:4], "big")
    brands = {head[8:12].decode("latin-1")}
    brands |= {head[at : at + 4].decode("latin-1") for at in range(16, min(size, len(head)), 4)}
    for members, name in _BRANDS:
        if brands.intersection(members):
            if name == "avif":
                return name
            raise ImageError("unsupported_format", f"{name}; convert it to JPEG, PNG or AVIF first")
    raise ImageError("unsupported_format", f"a video or another ISO media file ({head[8:12].decode('latin-1')!r})")


def _text(head: bytes, allow: tuple[str, ...]) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in start):
        if "svg" in allow:
            return "svg"
        raise ImageError("unsupported_format", "SVG; it is a program as much as a picture, and refused unless allowed")
    if start.startswith((b"/* xpm", b"! xpm2")) or (start.startswith(b"#define") and b"_width" in start):
        raise ImageError("unsupported_format", "XPM or XBM; convert it to PNG first")
    for magic, what in _NO_IMAGES:
        if head.startswith(magic):
            raise ImageError("not_an_image", what)
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start[:1024]:
        raise ImageError("not_an_image", "an HTML page, such as servers send instead of a missing image")
    if start[:1] in (b"<", b"{", b"[") or all(byte >= 0x20 or byte in b"\t\n\r" for byte in head[:512]):
        raise ImageError("not_an_image", "it looks like text")
    raise ImageError("not_an_image", f"it begins with {head[:8].hex(' ')}")
