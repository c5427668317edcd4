"""Planning: which sources need a job.  Those whose size, time, variants and files are as they were need none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from tasks.images.assets import Source, VariantFile, find_sets, find_sources, find_variants, hash_of_text
from tasks.images.sets import VariantSet, includes, specs_of
from tasks.images.sources import Look, is_settled, look
from tasks.images.storage import Storage

BATCH = 500
Connect = Callable[[], AbstractContextManager[Connection]]


@dataclass(slots=True)
class Counted:
    """What planning saw."""

    found: int = 0
    unchanged: int = 0


def plan_sources(
    sources: Iterable[str], wanted: VariantSet, dest: str, storage: Storage, connect: Connect
) -> Generator[dict[str, Any], None, Counted]:
    """One payload per source that has to be looked into; returns how many there were, and how many need nothing.

    A source named twice gets one job where the two are near to each other; else the second job finds all done.
    """
    counted = Counted()
    dest_hash, specs = hash_of_text(dest), specs_of(wanted)
    for batch in _batches(sources):
        counted.found += len(batch)
        looks = {source: look(source) for source in dict.fromkeys(batch)}
        named = {source: seen for source, seen in looks.items() if _is_utf8(source)}
        with connect() as connection:
            known = find_sources(connection, dest_hash, named)
            sets = find_sets(connection, {source.set_hash for source in known.values()})
            files = find_variants(connection, dest_hash, {source.content_hash for source in known.values()})
        for source, seen in looks.items():
            row = known.get(source)
            if (
                row is not None
                and _is_same(row, seen)
                and includes(sets.get(row.set_hash, {}), wanted)
                and _all_there(files[row.content_hash], specs, storage)
            ):
                counted.unchanged += 1
            else:
                yield _payload(source, seen)
    return counted


def is_complete(file: VariantFile, storage: Storage) -> bool:
    """Whether the file that a row points to is still there, of the size that it had."""
    found = storage.find(file.path)
    return found is not None and found.size == file.bytes


def _all_there(files: dict[str, VariantFile], specs: frozenset[str], storage: Storage) -> bool:
    return all(spec in files and is_complete(files[spec], storage) for spec in specs)


def _is_same(row: Source, seen: Look | None) -> bool:
    return (
        seen is not None
        and (seen.size, seen.mtime_ns) == (row.size, row.mtime_ns)
        and is_settled(row.mtime_ns, row.read_ns)
    )


def _payload(source: str, seen: Look | None) -> dict[str, Any]:
    if not _is_utf8(source):
        return {"source": source.encode("utf-8", "backslashreplace").decode(), "bad_name": True}
    return {"source": source} if seen is None else {"source": source, "size": seen.size, "mtime_ns": seen.mtime_ns}


def _is_utf8(source: str) -> bool:
    # A name that is not comes out of the file system with surrogates in it, which no JSON text can hold.
    return source.isascii() or not any("\ud800" <= char <= "\udfff" for char in source)


def _batches(sources: Iterable[str]) -> Iterator[list[str]]:
    left = iter(sources)
    while batch := list(islice(left, BATCH)):
        yield batch
