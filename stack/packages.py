"""Programs out of the distribution's packages, unpacked beside the project: no root, nothing installed, no service started."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.errors import ServerMissing

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where servers lie; the PATH of an ordinary user lacks them."""

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Packages unpacked below ``root``; ``library_path`` holds the directories of their shared libraries, joined by ``:``."""

    root: Path
    library_path: str


def unpack(directory: Path, packages: Sequence[str], *, what_to_do: str, only: str = "") -> Unpacked:
    """Fetch ``packages`` and the libraries that this machine lacks with apt, and unpack them into ``directory/root``, once.

    ``only``  a file, for a program that stands alone in a large package: nothing else is fetched or kept

    A second process that wants the same waits for the first.  Raises `ServerMissing`, which ends with ``what_to_do``.
    """
    root = directory / "root"
    if not root.is_dir():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise ServerMissing(f"there is no apt-get and dpkg-deb to fetch {packages[0]} with.\n{what_to_do}")
        with _alone(directory):
            # Looked at again: whoever had the lock before us may have done it.
            if not root.is_dir():
                _fetch(directory, packages, what_to_do, only)
    libraries = sorted({str(file.parent) for file in root.glob("**/lib/**/*.so*")})
    return Unpacked(root, os.pathsep.join(libraries))


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(directory: Path, packages: Sequence[str], what_to_do: str, only: str) -> None:
    debs, beside = directory / "debs", directory / "root.new"
    for old in (debs, beside):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    alone = bool(only)
    complaint = _download(debs, packages, [], alone) and _download(debs, packages, _own_lists(directory), alone)
    if complaint:
        raise ServerMissing(f"the package {packages[0]} could not be fetched: {complaint}\n{what_to_do}")
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(deb), str(beside)], check=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(debs)
    if only:
        _keep(beside, Path(only))
    # Renamed last: a set-up that is stopped in the middle starts over.
    beside.rename(directory / "root")


def _keep(root: Path, only: Path) -> None:
    aside = root.with_name(f"{root.name}.kept")
    (root / only).rename(aside)
    shutil.rmtree(root)
    (root / only).parent.mkdir(parents=True)
    aside.rename(root / only)


def _download(debs: Path, packages: Sequence[str], options: list[str], alone: bool) -> str:
    """Fetch the packages into ``debs``; returns what apt said if it failed, else the empty text."""
    names = [*packages, *(() if alone else _missing_libraries(packages, options))]
    done = subprocess.run(
        ["apt-get", *options, "download", *dict.fromkeys(names)],
        cwd=debs,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        ""
        if done.returncode == 0
        else (done.stderr or done.stdout)[-600:].strip() or f"apt-get exited {done.returncode}"
    )


def _missing_libraries(packages: Sequence[str], options: list[str]) -> list[str]:
    """What apt would install besides: exactly the libraries that are not here.  A simulation needs no root."""
    done = subprocess.run(
        ["apt-get", *options, "install", "--simulate", "--no-install-recommends", *packages],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    names = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]
    return [name for name in names if _NAME.match(name) and name.startswith("lib")]


def _own_lists(directory: Path) -> list[str]:
    """Package lists of our own, for a machine whose lists are empty and whose user may not update them."""
    state, cache = directory / "apt/state", directory / "apt/cache"
    for needed in (state / "lists/partial", cache / "archives/partial"):
        needed.mkdir(parents=True, exist_ok=True)
    options = [f"-oDir::State::lists={state / 'lists'}", f"-oDir::Cache={cache}", "-oDebug::NoLocking=1"]
    subprocess.run(["apt-get", *options, "update"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return options
