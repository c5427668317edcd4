"""Where things lie: the project, its ``var`` directory, and sockets short enough for the kernel."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MAX_SOCKET_PATH = 100
"""Bytes. ``sun_path`` of unix(7) holds 108; Supervisor binds to ``<path>.<pid>`` first, so leave room."""


def var_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory that holds everything a running stack writes: ``HOLDFAST_VAR``, or ``var`` in the project."""
    return Path(environ.get("HOLDFAST_VAR") or PROJECT / "var").absolute()


def socket_path(directory: Path, name: str) -> Path:
    """A path for a unix socket in ``directory``, or in a private directory under /tmp where that would be too long.

    Raises `PermissionError` if the directory under /tmp belongs to someone else.
    """
    wanted = directory / name
    if len(os.fsencode(wanted)) <= MAX_SOCKET_PATH:
        return wanted
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    temporary = Path(tempfile.gettempdir())
    if len(os.fsencode(temporary)) > MAX_SOCKET_PATH // 2:
        temporary = Path("/tmp")  # noqa: S108 - whose it is is checked below
    short = temporary / f"holdfast-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{short} is not a private directory of this user: remove it")
    return short / name
