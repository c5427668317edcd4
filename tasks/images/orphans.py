"""Orphans of a destination: rows that no source wants, rows whose file is gone, files without a row, leftovers of the killed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection

from tasks.images.assets import VariantFile, find_variants, lock_old_variants, wanted_specs
from tasks.images.naming import content_of
from tasks.images.planner import is_complete
from tasks.images.storage import INCOMING, Storage, Stored


@dataclass(slots=True)
class Orphans:
    """``unwanted`` and ``fileless`` are rows, ``rowless`` and ``leftovers`` files."""

    unwanted: list[VariantFile] = field(default_factory=list)
    """No source that has this content should have this variant any more."""
    fileless: list[VariantFile] = field(default_factory=list)
    """The row points to a file that is gone, or not of its size."""
    rowless: list[Stored] = field(default_factory=list)
    """A result that no row points to: its job was killed before the record, or its row was replaced."""
    leftovers: list[Stored] = field(default_factory=list)
    """A file that was never given its name."""

    def __bool__(self) -> bool:
        return bool(self.unwanted or self.fileless or self.rowless or self.leftovers)


def orphaned_rows(
    connection: Connection, dest_hash: str, contents: Collection[str], storage: Storage, *, age_s: float
) -> Orphans:
    """Among the rows of these contents; the rows that are at least ``age_s`` old are locked until the transaction ends."""
    # The rows first, then who wants them: whoever comes to want one meanwhile waits for its row, and finds it gone.
    old = lock_old_variants(connection, dest_hash, contents, age_s=age_s)
    wanted = wanted_specs(connection, dest_hash, contents)
    found = Orphans()
    for file in old:
        if file.spec_hash not in wanted[file.content_hash]:
            found.unwanted.append(file)
        elif not is_complete(file, storage):
            found.fileless.append(file)
    return found


def orphaned_files(connection: Connection, dest_hash: str, files: Iterable[Stored], *, before_s: float) -> Orphans:
    """Among these files, those put there before ``before_s`` (seconds since 1970).  What has another name is not ours."""
    old = [file for file in files if file.at_s < before_s]
    contents = {file.name: content_of(file.name) for file in old}
    rows = find_variants(connection, dest_hash, {content for content in contents.values() if content})
    found = Orphans()
    for file in old:
        content = contents[file.name]
        if file.name.startswith(f"{INCOMING}/"):
            found.leftovers.append(file)
        elif content and file.name not in {row.path for row in rows[content].values()}:
            found.rowless.append(file)
    return found


def batches_of_files(storage: Storage, size: int) -> Iterator[list[Stored]]:
    """The storage's files, so many at a time."""
    files = storage.list()
    while batch := list(islice(files, size)):
        yield batch
