"""Removing orphans, never under a batch: the destination's key is held, transaction by transaction, while anything is removed.

Two guards.  No batch of the destination can be admitted while a transaction here holds the fence of its key, and none may be
active.  What is younger than ``age_s`` stays, for a single image (which has no key) may be between its files and its record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from runstate import audit, documents, runs
from runstate.audit import Actor
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import TasksError
from tasks.images.assets import delete_sources, delete_variants, hash_of_text, page_of_contents, page_of_sources
from tasks.images.orphans import Orphans, batches_of_files, orphaned_files, orphaned_rows
from tasks.images.sources import is_gone
from tasks.images.storage import LocalFolder
from tasks.settings import settings

T = TypeVar("T")
KIND = "image_batch"
AGE_S = 3600.0
BATCH = 200
"""Files a transaction: MySQL ends one that waits for its next statement for more than five seconds."""


MAX_SUBJECT = 191


class DestBusy(TasksError):
    """A batch of the destination is active; what it is about to point to must stay."""

    def __init__(self, dest: str, run_id: str, status: str) -> None:
        super().__init__(f"{dest}: run {run_id} is {status}; prune when it has ended")
        self.run_id = run_id


@dataclass(slots=True)
class Pruned:
    """What was removed, or with a dry run would be; ``names`` holds the first of them."""

    sources: int = 0
    unwanted: int = 0
    fileless: int = 0
    rowless: int = 0
    leftovers: int = 0
    bytes: int = 0
    names: list[str] = field(default_factory=list)

    def add_sources(self, sources: Sequence[str]) -> None:
        """Count sources that were forgotten."""
        self.sources += len(sources)
        self.names += sources[: 1000 - len(self.names)]

    def add(self, orphans: Orphans) -> None:
        """Count these."""
        for name in ("unwanted", "fileless", "rowless", "leftovers"):
            setattr(self, name, getattr(self, name) + len(getattr(orphans, name)))
        self.bytes += sum(row.bytes for row in orphans.unwanted)
        self.bytes += sum(file.size for file in (*orphans.rowless, *orphans.leftovers))
        names = [row.path for row in (*orphans.unwanted, *orphans.fileless)]
        names += [file.name for file in (*orphans.rowless, *orphans.leftovers)]
        self.names += names[: 1000 - len(self.names)]


def prune_variants(
    dest: str | os.PathLike[str],
    actor: Actor | None,
    *,
    dry_run: bool = True,
    age_s: float = AGE_S,
    missing_sources: bool = False,
) -> Pruned:
    """Remove what is nobody's at a destination: unwanted variants, rows without a file, files without a row, leftovers.

    ``age_s``            what is younger stays
    ``missing_sources``  first forget the sources whose file is gone; what only they wanted is nobody's then
                         (a dry run counts the sources alone)
    ``actor``            who and why; may be None for a dry run

    Raises `DestBusy`, `DestRefused`.  Stopped halfway, it has done half; again, it does the rest.
    """
    if not dry_run and actor is None:
        raise ValueError("prune_variants(dry_run=False) needs an actor, with a reason")
    storage = LocalFolder(os.fspath(dest), settings().image_dest_roots)
    pruning = _Pruning(storage, None if dry_run else actor, age_s)
    if missing_sources:
        pruning.forget_missing_sources(settings().image_roots)
    pruning.prune_rows()
    pruning.prune_files()
    return pruning.done


class _Pruning:
    def __init__(self, storage: LocalFolder, actor: Actor | None, age_s: float) -> None:
        self.storage = storage
        self.actor = actor
        self.age_s = age_s
        self.dest = str(storage.path)
        self.dest_hash = hash_of_text(self.dest)
        self.done = Pruned()

    def forget_missing_sources(self, roots: Sequence[Path]) -> None:
        after = ""
        while page := self._read(partial(page_of_sources, dest_hash=self.dest_hash, after=after, most=BATCH)):
            gone = [source.source for source in page if is_gone(source.source, roots)]
            if gone:
                self._forget(gone)
            after = hash_of_text(page[-1].source)

    def prune_rows(self) -> None:
        after = ""
        while contents := self._read(partial(page_of_contents, dest_hash=self.dest_hash, after=after, most=BATCH)):
            self._prune(
                partial(
                    orphaned_rows, dest_hash=self.dest_hash, contents=contents, storage=self.storage, age_s=self.age_s
                )
            )
            after = contents[-1]

    def prune_files(self) -> None:
        before_s = time.time() - self.age_s
        for files in batches_of_files(self.storage, BATCH):
            self._prune(partial(orphaned_files, dest_hash=self.dest_hash, files=files, before_s=before_s))

    def _forget(self, gone: Sequence[str]) -> None:
        def steps(connection: Connection) -> None:
            self._hold_key(connection)
            delete_sources(connection, self.dest_hash, gone)
            self._audit(connection, {"sources": gone})

        if self.actor is not None:
            in_transaction(clients.engine(), steps)
        self.done.add_sources(gone)

    def _prune(self, find: Callable[[Connection], Orphans]) -> None:
        """Look, and where something is found, look again with the key held, and remove it."""
        orphans = self._read(find)
        if orphans and self.actor is not None:
            orphans = in_transaction(clients.engine(), partial(self._remove, find=find))
        self.done.add(orphans)

    def _remove(self, connection: Connection, find: Callable[[Connection], Orphans]) -> Orphans:
        self._hold_key(connection)
        orphans = find(connection)
        rows = [*orphans.unwanted, *orphans.fileless]
        files = [row.path for row in rows] + [file.name for file in (*orphans.rowless, *orphans.leftovers)]
        delete_variants(connection, self.dest_hash, rows)
        self._audit(connection, {"rows": len(rows), "files": files})
        # Before the commit, while the rows are locked: nobody can point to the same file anew in between.
        for name in files:
            found = self.storage.find(name)
            if found is not None and found.at_s < time.time() - self.age_s:
                self.storage.delete(name)
        return orphans

    def _hold_key(self, connection: Connection) -> None:
        """Keep batches of the destination from being admitted until the commit.  Raises `DestBusy` if one is active."""
        admission_hash = documents.admission_hash(KIND, self.dest)
        runs.raise_fence(connection, admission_hash)
        active = runs.find_active(connection, admission_hash)
        if active is not None:
            raise DestBusy(self.dest, active.run_id, active.status.value)

    def _audit(self, connection: Connection, removed: Mapping[str, Any]) -> None:
        assert self.actor is not None
        audit.write(connection, self.actor, "prune_variants", f"image_dest:{self.dest}"[:MAX_SUBJECT], removed, {})

    @staticmethod
    def _read(look: Callable[[Connection], T]) -> T:
        return in_transaction(clients.engine(), look)
