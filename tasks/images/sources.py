"""Originals: which ones a start means, whether they lie where images may be read, and what they look like from outside."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.images.errors import ImageError, ImagesError

SETTLED_NS = 50_000_000
"""A file that was modified so shortly before it was read may have been modified again within one tick of the file system's
clock: its time would not show it."""
COARSE_SETTLED_NS = 2_000_000_000
"""The same where the file system keeps whole seconds."""


class SourcesRefused(ImagesError):
    """The pattern as a whole cannot be used; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Look:
    """A source's size in bytes and modification time in ns, as a glance at its folder tells."""

    size: int
    mtime_ns: int


def expand(sources: str | Iterable[str], roots: Sequence[Path], *, leave_out: Path) -> Iterator[str]:
    """The sources of a start, streamed: those of a list as they are, those that a glob pattern matches.

    ``leave_out``  the destination: what lies there is no original.
    Raises `SourcesRefused` for a pattern that starts outside of the roots, or in a folder that does not exist.
    """
    if not isinstance(sources, str):
        yield from sources
        return
    base, pattern = _split(sources)
    _check_base(sources, base, roots)
    for path in _matches(base, pattern):
        if not path.resolve().is_relative_to(leave_out):
            yield str(path)


def look(source: str) -> Look | None:
    """A glance, without opening it; None where there is nothing to be seen (the job will say why)."""
    try:
        found = os.stat(source)
    except (OSError, ValueError):
        return None
    return Look(found.st_size, found.st_mtime_ns)


def is_settled(mtime_ns: int, read_ns: int) -> bool:
    """Whether an unchanged modification time proves that a file is still what was read at ``read_ns``."""
    coarse = mtime_ns % 1_000_000_000 == 0
    return mtime_ns + (COARSE_SETTLED_NS if coarse else SETTLED_NS) < read_ns


def locate(source: str, roots: Sequence[Path]) -> Path:
    """Where ``source`` really lies, all symbolic links followed; raises `ImageError` (outside_roots)."""
    real = Path(os.path.realpath(source))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        where = "" if str(real) == source else f"it is {str(real)!r}; "
        allowed = " or ".join(map(str, roots))
        raise ImageError("outside_roots", f"{where}put it under {allowed}, or set IMAGE_ROOTS")
    return real


def check_in_place(source: str, real: Path, signature: Sequence[int]) -> None:
    """Raise `ImageError` (changed) unless ``source`` still leads to ``real``, and that is the file that was opened.

    A symbolic link may have been changed between `locate` and the opening; ``signature`` starts with device and inode.
    """
    try:
        found = os.stat(real)
    except OSError as error:
        raise ImageError("changed", str(error.strerror)) from None
    if os.path.realpath(source) != str(real) or (found.st_dev, found.st_ino) != tuple(signature[:2]):
        raise ImageError("changed", "another file took its place while it was opened")


def is_gone(source: str, roots: Sequence[Path]) -> bool:
    """Whether a source was removed from under its root; not where the root itself is gone or empty: a disk that is not there."""
    root = next((root for root in roots if Path(source).is_relative_to(root)), None)
    return root is not None and not os.path.lexists(source) and root.is_dir() and any(root.iterdir())


def _split(pattern: str) -> tuple[Path, list[str]]:
    """The folders of a pattern before its first wildcard, and the rest."""
    parts = list(Path(pattern).parts)
    fixed = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    fixed = min(fixed, len(parts) - 1)
    return Path(*parts[:fixed]), parts[fixed:]


def _matches(folder: Path, pattern: list[str]) -> Iterator[Path]:
    """Files that match, in the order of their names, one folder in memory at a time.

    As the shell does it: ``*`` takes no hidden names (which the standard library's ``Path.glob`` does), and ``**`` follows
    no links to folders (which its ``glob.iglob`` does, round and round).
    """
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        yield from _matches(folder, rest or ["*"])
        for entry in _entries(folder, "*"):
            if entry.is_dir(follow_symlinks=False):
                yield from _matches(folder / entry.name, pattern)
        return
    for entry in _entries(folder, head):
        if rest and entry.is_dir():
            yield from _matches(folder / entry.name, rest)
        elif not rest and entry.is_file():
            yield folder / entry.name


def _entries(folder: Path, pattern: str) -> list[os.DirEntry[str]]:
    matches = re.compile(fnmatch.translate(pattern)).match
    hidden = pattern.startswith(".")
    try:
        with os.scandir(folder) as found:
            return sorted(
                (entry for entry in found if matches(entry.name) and (hidden or not entry.name.startswith("."))),
                key=lambda entry: entry.name,
            )
    except PermissionError as error:
        raise SourcesRefused(f"{folder}: {error.strerror}; let the workers read it, or use another pattern") from None
    except (FileNotFoundError, NotADirectoryError):
        return []  # It went away while its parent was read.


def _check_base(pattern: str, base: Path, roots: Sequence[Path]) -> None:
    real = Path(os.path.realpath(base))
    if not any(real.is_relative_to(os.path.realpath(root)) for root in roots):
        where = "" if real == base else f" ({base} is {real})"
        allowed = " or ".join(map(str, roots))
        raise SourcesRefused(
            f"sources={pattern!r} starts outside of the allowed roots{where}; use a folder under {allowed}, or set IMAGE_ROOTS"
        )
    if not real.is_dir():
        raise SourcesRefused(f"sources={pattern!r}: there is no folder {base} on this host")
