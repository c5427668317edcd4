"""The rows of sources, assets and variants: read while planning and working, written in a job's record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from sqlalchemy import Connection, TextClause, bindparam, text

from tasks.images.sets import VariantSet, hash_of, merged, specs_of, text_of


@dataclass(frozen=True, slots=True)
class Asset:
    """What an original is, by its content alone; the size is the upright image's."""

    content_hash: str
    format: str
    width: int
    height: int
    frames: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file that stands for an asset at a destination, as it was when it was read at ``read_ns``."""

    source: str
    size: int
    mtime_ns: int
    read_ns: int
    content_hash: str
    set_hash: str


@dataclass(frozen=True, slots=True)
class VariantFile:
    """A complete file of a destination; ``path`` is relative to it."""

    content_hash: str
    spec_hash: str
    format: str
    path: str
    width: int
    height: int
    bytes: int
    sha256: str
    colour: str


def hash_of_text(name: str) -> str:
    """A path as a key of fixed length."""
    return hashlib.sha256(name.encode()).hexdigest()


_SOURCES = text(
    "SELECT source, size, mtime_ns, read_ns, content_hash, set_hash FROM image_sources"
    " WHERE dest_hash = :dest_hash AND source_hash IN :hashes"
).bindparams(bindparam("hashes", expanding=True))


def find_sources(connection: Connection, dest_hash: str, sources: Collection[str]) -> dict[str, Source]:
    """What is known of these sources, by name."""
    if not sources:
        return {}
    rows = connection.execute(
        _SOURCES, {"dest_hash": dest_hash, "hashes": [hash_of_text(source) for source in sources]}
    ).mappings()
    return {row["source"]: Source(**{str(name): value for name, value in row.items()}) for row in rows}


_SETS = text("SELECT set_hash, variants FROM image_sets WHERE set_hash IN :hashes").bindparams(
    bindparam("hashes", expanding=True)
)


def find_sets(connection: Connection, hashes: Collection[str]) -> dict[str, VariantSet]:
    """The sets of these names."""
    if not hashes:
        return {}
    return {row.set_hash: json.loads(row.variants) for row in connection.execute(_SETS, {"hashes": list(hashes)})}


_VARIANTS = text(
    "SELECT content_hash, spec_hash, format, path, width, height, bytes, sha256, colour FROM image_variants"
    " WHERE dest_hash = :dest_hash AND content_hash IN :contents"
).bindparams(bindparam("contents", expanding=True))


def find_variants(
    connection: Connection, dest_hash: str, contents: Collection[str]
) -> dict[str, dict[str, VariantFile]]:
    """The files that the rows know of these contents: content hash → spec hash → file."""
    found: dict[str, dict[str, VariantFile]] = {content: {} for content in contents}
    if contents:
        rows = connection.execute(_VARIANTS, {"dest_hash": dest_hash, "contents": list(contents)}).mappings()
        for row in rows:
            found[row["content_hash"]][row["spec_hash"]] = VariantFile(
                **{str(name): value for name, value in row.items()}
            )
    return found


def find_assets(connection: Connection, contents: Collection[str]) -> dict[str, Asset]:
    """The assets of these contents."""
    if not contents:
        return {}
    rows = connection.execute(_ASSETS, {"contents": list(contents)}).mappings()
    return {row["content_hash"]: Asset(**{str(name): value for name, value in row.items()}) for row in rows}


_ASSETS = text(
    "SELECT content_hash, format, width, height, frames, bytes FROM image_assets WHERE content_hash IN :contents"
).bindparams(bindparam("contents", expanding=True))


_HELD = text(
    "SELECT spec_hash FROM image_variants WHERE dest_hash = :dest_hash AND content_hash = :content_hash"
    " AND spec_hash IN :specs LOCK IN SHARE MODE"
).bindparams(bindparam("specs", expanding=True))


def hold_variants(connection: Connection, dest_hash: str, content_hash: str, specs: Sequence[str]) -> set[str]:
    """Keep these rows from being pruned until the transaction ends; the spec hashes of those that are there."""
    values = {"dest_hash": dest_hash, "content_hash": content_hash, "specs": list(specs)}
    return {row.spec_hash for row in connection.execute(_HELD, values)}


_DEST = text("INSERT IGNORE INTO image_dests (dest_hash, path) VALUES (:dest_hash, :path)")
_SET = text("INSERT IGNORE INTO image_sets (set_hash, variants) VALUES (:set_hash, :variants)")


_INTRODUCED = text(
    "SELECT COUNT(*) FROM image_dests d JOIN image_sets s ON s.set_hash = :set_hash WHERE d.dest_hash = :dest_hash"
)


def is_introduced(connection: Connection, dest: str, variants: VariantSet) -> bool:
    """Whether it is written down what the hashes of this destination and this set stand for."""
    return bool(connection.scalar(_INTRODUCED, {"dest_hash": hash_of_text(dest), "set_hash": hash_of(variants)}))


def write_dest(connection: Connection, path: str) -> None:
    """Say which folder a destination's hash stands for."""
    connection.execute(_DEST, {"dest_hash": hash_of_text(path), "path": path})


def write_set(connection: Connection, variants: VariantSet) -> None:
    """Say what a set's hash stands for."""
    connection.execute(_SET, {"set_hash": hash_of(variants), "variants": text_of(variants)})


_ASSET = text(
    "INSERT IGNORE INTO image_assets (content_hash, format, width, height, frames, bytes, created_at)"
    " VALUES (:content_hash, :format, :width, :height, :frames, :bytes, NOW(6))"
)


def write_asset(connection: Connection, asset: Asset) -> None:
    """One row for one content, whoever is first."""
    connection.execute(_ASSET, asdict(asset))


_WRITE_VARIANT = (
    "INSERT INTO image_variants (dest_hash, content_hash, spec_hash, format, path, width, height, bytes, sha256, colour,"
    " created_at) VALUES %s ON DUPLICATE KEY UPDATE path = VALUES(path), width = VALUES(width), height = VALUES(height),"
    " bytes = VALUES(bytes), sha256 = VALUES(sha256), colour = VALUES(colour), created_at = VALUES(created_at)"
)
_COLUMNS = ("content_hash", "spec_hash", "format", "path", "width", "height", "bytes", "sha256", "colour")


def write_variants(connection: Connection, dest_hash: str, files: Iterable[VariantFile]) -> None:
    """Point to files that are complete, in the order of their keys: two jobs with the same content must not deadlock."""
    ordered = sorted(files, key=lambda file: (file.content_hash, file.spec_hash))
    if not ordered:
        return
    values: dict[str, object] = {"dest_hash": dest_hash}
    for number, file in enumerate(ordered):
        values |= {f"{name}_{number}": getattr(file, name) for name in _COLUMNS}
    connection.execute(_write_variants(len(ordered)), values)


@lru_cache(maxsize=64)
def _write_variants(count: int) -> TextClause:
    rows = (f"(:dest_hash, {', '.join(f':{name}_{number}' for name in _COLUMNS)}, NOW(6))" for number in range(count))
    return text(_WRITE_VARIANT % ", ".join(rows))


_SOURCE = text(
    "INSERT INTO image_sources (dest_hash, source_hash, source, size, mtime_ns, read_ns, content_hash, set_hash, updated_at)"
    " VALUES (:dest_hash, :source_hash, :source, :size, :mtime_ns, :read_ns, :content_hash, :set_hash, NOW(6))"
    # The set that is there stays until it is read, under this statement's lock, and merged.
    " ON DUPLICATE KEY UPDATE size = VALUES(size), mtime_ns = VALUES(mtime_ns), read_ns = VALUES(read_ns),"
    " content_hash = VALUES(content_hash), updated_at = VALUES(updated_at)"
)
_ITS_SET = text(
    "SELECT s.set_hash, t.variants FROM image_sources s LEFT JOIN image_sets t ON t.set_hash = s.set_hash"
    " WHERE s.dest_hash = :dest_hash AND s.source_hash = :source_hash"
)
_TO_SET = text(
    "UPDATE image_sources SET set_hash = :set_hash WHERE dest_hash = :dest_hash AND source_hash = :source_hash"
)


def write_source(connection: Connection, dest_hash: str, source: Source, wanted: VariantSet) -> None:
    """Point a source to its content and to what it should have; variants of other names stay wanted.

    ``source.set_hash`` is that of ``wanted``, whose row is there.
    """
    key: Mapping[str, object] = {"dest_hash": dest_hash, "source_hash": hash_of_text(source.source)}
    connection.execute(_SOURCE, {**asdict(source), **key})
    row = connection.execute(_ITS_SET, key).one()
    if row.set_hash == source.set_hash:
        return
    both = merged(json.loads(row.variants or "{}"), wanted)
    if hash_of(both) != row.set_hash:
        write_set(connection, both)
        connection.execute(_TO_SET, {**key, "set_hash": hash_of(both)})


_PAGE = text(
    "SELECT source_hash, source, size, mtime_ns, read_ns, content_hash, set_hash FROM image_sources"
    " WHERE dest_hash = :dest_hash AND source_hash > :after ORDER BY source_hash LIMIT :most"
)


def page_of_sources(connection: Connection, dest_hash: str, *, after: str, most: int) -> list[Source]:
    """The next sources of a destination in the order of their hashes; ``after`` is the last one's hash, or empty."""
    rows = connection.execute(_PAGE, {"dest_hash": dest_hash, "after": after, "most": most}).mappings()
    names = Source.__dataclass_fields__
    return [Source(**{name: row[name] for name in names}) for row in rows]


_CONTENTS = text(
    "SELECT DISTINCT content_hash FROM image_variants WHERE dest_hash = :dest_hash AND content_hash > :after"
    " ORDER BY content_hash LIMIT :most"
)


def page_of_contents(connection: Connection, dest_hash: str, *, after: str, most: int) -> list[str]:
    """The next contents that a destination has files of, in order."""
    return list(connection.scalars(_CONTENTS, {"dest_hash": dest_hash, "after": after, "most": most}))


_WANTED = text(
    "SELECT DISTINCT s.content_hash, t.variants FROM image_sources s JOIN image_sets t ON t.set_hash = s.set_hash"
    " WHERE s.dest_hash = :dest_hash AND s.content_hash IN :contents"
).bindparams(bindparam("contents", expanding=True))


def wanted_specs(connection: Connection, dest_hash: str, contents: Collection[str]) -> dict[str, set[str]]:
    """Content hash → the spec hashes that its sources should have."""
    found: dict[str, set[str]] = {content: set() for content in contents}
    if contents:
        for row in connection.execute(_WANTED, {"dest_hash": dest_hash, "contents": list(contents)}):
            found[row.content_hash] |= specs_of(json.loads(row.variants))
    return found


_LOCKED = text(
    "SELECT content_hash, spec_hash, format, path, width, height, bytes, sha256, colour FROM image_variants"
    " WHERE dest_hash = :dest_hash AND content_hash IN :contents AND created_at < NOW(6) - INTERVAL :age_s SECOND"
    " ORDER BY content_hash, spec_hash FOR UPDATE"
).bindparams(bindparam("contents", expanding=True))


def lock_old_variants(
    connection: Connection, dest_hash: str, contents: Collection[str], *, age_s: float
) -> list[VariantFile]:
    """Variants of these contents whose rows were written at least so long ago, kept from being used until the commit."""
    if not contents:
        return []
    values = {"dest_hash": dest_hash, "contents": list(contents), "age_s": age_s}
    rows = connection.execute(_LOCKED, values).mappings()
    return [VariantFile(**{str(name): value for name, value in row.items()}) for row in rows]


_DELETE = text(
    "DELETE FROM image_variants WHERE dest_hash = :dest_hash AND content_hash = :content_hash AND spec_hash IN :specs"
).bindparams(bindparam("specs", expanding=True))


def delete_variants(connection: Connection, dest_hash: str, files: Iterable[VariantFile]) -> None:
    """Forget these files."""
    by_content: dict[str, list[str]] = {}
    for file in files:
        by_content.setdefault(file.content_hash, []).append(file.spec_hash)
    for content, specs in sorted(by_content.items()):
        connection.execute(_DELETE, {"dest_hash": dest_hash, "content_hash": content, "specs": sorted(specs)})


_DELETE_SOURCES = text("DELETE FROM image_sources WHERE dest_hash = :dest_hash AND source_hash IN :hashes").bindparams(
    bindparam("hashes", expanding=True)
)


def delete_sources(connection: Connection, dest_hash: str, sources: Collection[str]) -> None:
    """Forget these sources; what only they wanted is nobody's then."""
    if sources:
        hashes = sorted(map(hash_of_text, sources))
        connection.execute(_DELETE_SOURCES, {"dest_hash": dest_hash, "hashes": hashes})


def dests(connection: Connection) -> list[dict[str, object]]:
    """Every destination with the number of its sources, and of its files and their bytes."""
    rows = connection.execute(
        text(
            "SELECT d.path, (SELECT COUNT(*) FROM image_sources s WHERE s.dest_hash = d.dest_hash) AS sources,"
            " COUNT(v.path) AS files, COALESCE(SUM(v.bytes), 0) AS bytes FROM image_dests d"
            " LEFT JOIN image_variants v ON v.dest_hash = d.dest_hash GROUP BY d.dest_hash, d.path ORDER BY d.path"
        )
    ).mappings()
    return [{**row, "bytes": int(row["bytes"])} for row in rows]
