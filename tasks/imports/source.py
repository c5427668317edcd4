"""The file: opened only where imports may read, and pinned, so that every job reads the bytes that were planned."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from tasks.imports.errors import BadSource, SourceChanged


@dataclass(frozen=True, slots=True)
class Pin:
    """What the planned file was: its size in bytes, its modification time and the SHA-256 of its content."""

    size: int
    mtime_ns: int
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """The pin as the plan keeps it."""
        return asdict(self)

    @classmethod
    def of_json(cls, pin: Mapping[str, Any]) -> Self:
        """The pin of a plan."""
        return cls(size=pin["size"], mtime_ns=pin["mtime_ns"], sha256=pin["sha256"])


class Source:
    """A regular file under one of the allowed roots, open for reading; a context manager."""

    def __init__(
        self, path: str, roots: Sequence[str | os.PathLike[str]], *, roots_setting: str = "IMPORT_ROOTS"
    ) -> None:
        """Open ``path``; raises `BadSource` for whatever is not a readable regular file under a root.

        ``roots_setting``: the variable that errors name as the one that sets the roots.
        """
        allowed = [os.path.realpath(root) for root in roots]
        # Looked at before it is opened, since opening alone can do something (a device); and again afterwards by the
        # descriptor, since a symlink may have been changed in between.
        _check_under(path, os.path.realpath(path), allowed, roots_setting)
        try:
            # O_NONBLOCK: a FIFO without a writer would hold the worker in open() for ever.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BadSource(
                path, "no such file on this host; put it there, under the same path on every worker host"
            ) from None
        except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
            raise BadSource(
                path, f"cannot be opened ({error.strerror}); give a file that the workers may read"
            ) from None
        except OSError as error:
            if error.errno in _NOT_A_FILE:
                raise BadSource(path, f"cannot be opened ({error.strerror}); give a regular file") from None
            raise
        self.path = path
        try:
            _check_opened(self._fd, path, allowed, roots_setting)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def pin(self) -> Pin:
        """The file as it is now, without its hash."""
        now = os.fstat(self._fd)
        return Pin(size=now.st_size, mtime_ns=now.st_mtime_ns)

    def read(self, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``, fewer only at the end of the file."""
        parts = []
        while length > 0:
            part = os.pread(self._fd, length, start)
            if not part:
                break
            parts.append(part)
            start, length = start + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check(self, pin: Pin) -> None:
        """Raise `SourceChanged` unless size and modification time are those of ``pin``."""
        now = self.pin()
        if (now.size, now.mtime_ns) != (pin.size, pin.mtime_ns):
            raise SourceChanged(
                self.path,
                f"changed since the import was planned (size {pin.size} → {now.size}, modified {pin.mtime_ns} → "
                f"{now.mtime_ns} ns); put the planned file back, or start a new import",
            )


_NOT_A_FILE = {6, 20, 40}  # ENXIO (a socket), ENOTDIR, ELOOP


def _check_opened(fd: int, path: str, roots: Sequence[str], setting: str) -> None:
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        raise BadSource(path, f"is {_kind(mode)}, not a regular file; write its content to a file first")
    _check_under(path, _opened_path(fd, path), roots, setting)


def _check_under(path: str, real: str, roots: Sequence[str], setting: str) -> None:
    if not any(Path(real).is_relative_to(root) for root in roots):
        where = "" if real == path else f" (it is {real})"
        raise BadSource(
            path, f"lies outside the allowed roots{where}; put it under {' or '.join(roots)}, or set {setting}"
        )


def _opened_path(fd: int, path: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        # No /proc: the path must still lead to the very file that is open.
        real = os.path.realpath(path)
        if not os.path.samestat(os.stat(real), os.fstat(fd)):
            raise BadSource(path, "was replaced while it was opened; start the import again") from None
        return real


def _kind(mode: int) -> str:
    names = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")
