"""The manifest of a destination: source → asset → variants, as data, as a JSON file, and as HTML's ``srcset``."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from tasks.images.assets import (
    Asset,
    Source,
    VariantFile,
    find_assets,
    find_sets,
    find_sources,
    find_variants,
    hash_of_text,
    page_of_sources,
)

PAGE = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One source of a destination: what it is, and the files that stand for it.

    ``variants``  name → format → file; what has not been made (yet) is not in it
    """

    source: str
    asset: Asset
    variants: Mapping[str, Mapping[str, VariantFile]]

    def as_json(self) -> dict[str, Any]:
        """The entry as the manifest's file has it."""
        asset = self.asset
        return {
            "source": self.source,
            "content": asset.content_hash,
            "format": asset.format,
            "width": asset.width,
            "height": asset.height,
            "frames": asset.frames,
            "variants": {
                name: {each: _file_as_json(file) for each, file in formats.items()}
                for name, formats in self.variants.items()
            },
        }


def manifest(connection: Connection, dest: str | os.PathLike[str]) -> Iterator[Entry]:
    """Every source of a destination, streamed, in the order of their hashes (which is none that means anything)."""
    dest_hash = hash_of_dest(dest)
    after = ""
    while page := page_of_sources(connection, dest_hash, after=after, most=PAGE):
        yield from _entries(connection, dest_hash, page)
        after = hash_of_text(page[-1].source)


def find_entry(connection: Connection, dest: str | os.PathLike[str], source: str | os.PathLike[str]) -> Entry | None:
    """One source's entry, None if the destination has nothing of it."""
    dest_hash = hash_of_dest(dest)
    rows = find_sources(connection, dest_hash, [os.path.abspath(os.fspath(source))])
    return next(_entries(connection, dest_hash, rows.values()), None)


def srcset(entry: Entry, image_format: str, *, base_url: str = "", names: Collection[str] | None = None) -> str:
    """The value of ``srcset``: each width once, the smallest first, e.g. ``/img/ab/cd….webp 480w, … 960w``.

    ``base_url``  where the destination is served from
    ``names``     only these variants; without it all that have this format: leave out those that are cropped otherwise

    An image is not enlarged, so two variants of a small one may have the same width; one of them is enough.
    """
    chosen: dict[int, VariantFile] = {}
    for name, formats in entry.variants.items():
        if image_format in formats and (names is None or name in names):
            file = formats[image_format]
            chosen.setdefault(file.width, file)
    prefix = base_url if not base_url or base_url.endswith("/") else f"{base_url}/"
    return ", ".join(f"{prefix}{quote(file.path)} {width}w" for width, file in sorted(chosen.items()))


def write_manifest(connection: Connection, dest: str | os.PathLike[str], path: Path) -> int:
    """Write the manifest to a file, which is whole or is not there; how many sources it has.

    One line a source, between ``{"dest": …, "images": [`` and ``]}``, so that it can be read line by line as well.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with part.open("x", encoding="utf-8") as out:
            out.write(f'{{"dest": {json.dumps(os.path.realpath(dest), ensure_ascii=False)}, "images": [')
            for entry in manifest(connection, dest):
                out.write(",\n" if count else "\n")
                out.write(json.dumps(entry.as_json(), ensure_ascii=False, sort_keys=True))
                count += 1
            out.write("\n]}\n")
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def hash_of_dest(dest: str | os.PathLike[str]) -> str:
    """The key of a destination's rows."""
    return hash_of_text(os.path.realpath(dest))


def _entries(connection: Connection, dest_hash: str, sources: Collection[Source]) -> Iterator[Entry]:
    contents = {source.content_hash for source in sources}
    assets = find_assets(connection, contents)
    sets = find_sets(connection, {source.set_hash for source in sources})
    files = find_variants(connection, dest_hash, contents)
    for source in sources:
        made = files[source.content_hash]
        variants = {
            name: {each: made[spec] for each, spec in formats.items() if spec in made}
            for name, formats in sets.get(source.set_hash, {}).items()
        }
        yield Entry(source.source, assets[source.content_hash], variants)


def _file_as_json(file: VariantFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "width": file.width,
        "height": file.height,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "colour": file.colour,
    }
