"""The arguments of `start_image_batch` and `process_image`, checked when a start is made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.errors import BadArguments
from tasks.images.variants import Variant, check_variants

MAX_PATH_CHARS = 4096
MAX_DEST_CHARS = 512
MAX_ENCODINGS = 60


def batch_arguments(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    variants: Sequence[Mapping[str, Any] | Variant] | Mapping[str, Any] | Variant,
    *,
    dest: str | os.PathLike[str],
) -> dict[str, Any]:
    """The arguments of a batch as its run keeps them: absolute paths, complete specs.

    ``sources``   paths of files, or one text: a glob pattern, with ``**`` for any depth.  A list is taken literally
    ``variants``  what to make of each image, see `Variant`
    ``dest``      the folder for the results

    Raises `BadArguments`.
    """
    return {"sources": _sources(sources), "variants": _variants(variants), "dest": _dest(dest)}


def image_arguments(
    source: str | os.PathLike[str],
    variants: Sequence[Mapping[str, Any] | Variant] | Mapping[str, Any] | Variant,
    *,
    dest: str | os.PathLike[str],
) -> dict[str, Any]:
    """The arguments of `process_image`: one file, taken literally.  Raises `BadArguments`."""
    return {"source": _path("source", source), "variants": _variants(variants), "dest": _dest(dest)}


def _sources(sources: Any) -> str | list[str]:
    if isinstance(sources, str):
        return _path("sources", sources)
    if isinstance(sources, os.PathLike):
        return [_path("sources", sources)]
    if not isinstance(sources, Iterable) or isinstance(sources, bytes | Mapping):
        raise BadArguments(
            f"sources={sources!r}: give a list of paths, or a glob pattern such as '/data/photos/**/*.jpg'"
        )
    found = [_path("sources", source) for source in sources]
    if not found:
        raise BadArguments("sources is empty: give at least one path, or a glob pattern")
    return found


def _path(name: str, path: Any) -> str:
    if not isinstance(path, str | os.PathLike):
        raise BadArguments(f"{name}: {path!r} is no path")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text or len(text) > MAX_PATH_CHARS:
        raise BadArguments(f"{name}: {text!r} is no path of 1 to {MAX_PATH_CHARS} characters")
    if "://" in text:
        raise BadArguments(f"{name}: {text!r} is a URL; only files can be read: fetch it into one of IMAGE_ROOTS first")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadArguments(f"{name}: {text!r}: its name is not UTF-8; rename it") from None
    return os.path.abspath(text)


def _dest(dest: Any) -> str:
    # One folder, one key: two names for it must not let two batches in.
    path = os.path.realpath(_path("dest", dest))
    if len(path) > MAX_DEST_CHARS:
        raise BadArguments(f"dest={path!r}: at most {MAX_DEST_CHARS} characters")
    return path


def _variants(variants: Any) -> list[dict[str, Any]]:
    given = [variants] if isinstance(variants, Mapping | Variant) else variants
    if isinstance(given, str | bytes) or not isinstance(given, Sequence):
        raise BadArguments(f"variants={variants!r}: give a list such as [{{'name': 'small', 'width': 480}}]")
    checked = check_variants(given)
    encodings = sum(len(variant.formats) for variant in checked)
    if encodings > MAX_ENCODINGS:
        raise BadArguments(f"variants: {encodings} files of each image; at most {MAX_ENCODINGS} can be made in one job")
    return [variant.as_json() for variant in checked]
