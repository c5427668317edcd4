"""Where results go: one small interface; a folder is the first to have it, an object store can be the next.

What is stored is never seen half-written, not by a reader and not after a power cut: a file is written elsewhere on the same
file system, flushed to the disk, renamed to its name, and the folder that now holds the name is flushed (rename(2), fsync(2)).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks import failpoints
from tasks.images.errors import DestRefused

INCOMING = ".incoming"
"""The folder of a destination where files are written before they get their names; readers have no business there."""
FILE_MODE = 0o644
FOLDER_MODE = 0o755
"""Results are for others to read, a web server for example, whatever the worker's umask says."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a storage: its name within it, bytes, and when it was put there (seconds since 1970)."""

    name: str
    size: int
    at_s: float


class Storage(Protocol):
    """What the image batches ask of a place for results; names are relative, with ``/`` between folders."""

    def incoming(self) -> Path:
        """A local folder for files that are about to be put, under names that nobody else has."""

    def put(self, files: Mapping[str, Path]) -> None:
        """Move each file to its name, all of them complete and durable when this returns.

        Raises `OSError`; then none of the given files is left where it was.
        """

    def find(self, name: str) -> Stored | None:
        """The file of this name, None if there is none."""

    def delete(self, name: str) -> bool:
        """Remove a file; False if it was not there."""

    def list(self) -> Iterator[Stored]:
        """Every file, leftovers of `incoming` included, in no order."""


class LocalFolder:
    """A folder under one of the allowed roots, on this host or mounted on all of them."""

    def __init__(self, path: str, roots: Sequence[Path]) -> None:
        """Use ``path``, which is made if need be; raises `DestRefused` where it leads outside of the roots."""
        self.path = _allowed(path, roots)

    def incoming(self) -> Path:
        folder = self.path / INCOMING
        _make_folder(folder)
        return folder

    def put(self, files: Mapping[str, Path]) -> None:
        try:
            self._put(files)
        finally:
            for temporary in files.values():
                temporary.unlink(missing_ok=True)

    def _put(self, files: Mapping[str, Path]) -> None:
        for temporary in files.values():
            with open(temporary, "rb+") as file:
                os.fchmod(file.fileno(), FILE_MODE)
                os.fsync(file.fileno())
        failpoints.hit("images.written")
        folders = {(self.path / name).parent for name in files}
        for folder in folders:
            _make_folder(folder)
            if not folder.resolve().is_relative_to(self.path):
                raise DestRefused(str(folder), f"leads out of {self.path}; remove that symbolic link")
        for name, temporary in files.items():
            temporary.rename(self.path / name)
        failpoints.hit("images.renamed")
        for folder in folders:
            _flush_folder(folder)

    def find(self, name: str) -> Stored | None:
        try:
            found = os.stat(self.path / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stored(name, found.st_size, found.st_mtime)

    def delete(self, name: str) -> bool:
        try:
            (self.path / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def list(self) -> Iterator[Stored]:
        for folder, _, names in os.walk(self.path):
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    found = path.lstat()
                    yield Stored(path.relative_to(self.path).as_posix(), found.st_size, found.st_mtime)


def _allowed(path: str, roots: Sequence[Path]) -> Path:
    real = Path(os.path.realpath(path))
    allowed = [Path(os.path.realpath(root)) for root in roots]
    if not any(real.is_relative_to(root) for root in allowed):
        where = "" if str(real) == path else f" (it is {real})"
        raise DestRefused(
            path,
            f"lies outside the allowed roots{where}; put it under {' or '.join(map(str, allowed))}, or set IMAGE_DEST_ROOTS",
        )
    return real


def _make_folder(folder: Path) -> None:
    """Make it and what lies above it; each name that was made is flushed, or a power cut could take it with all below."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(FOLDER_MODE)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
