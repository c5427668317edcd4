"""Servers that tests and benchmarks talk to: nginx, and Postfix' ``smtp-sink``; installed ones, or unpacked from Debian's packages.

Unpacked even by root: installing these packages would start a mail server and a web server on the standard ports.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from stack.errors import ServerMissing
from stack.layout import var_dir
from stack.packages import SBIN, unpack


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be started here; ``library_path`` holds directories of libraries that the system lacks."""

    path: Path
    library_path: str = ""

    def environment(self) -> dict[str, str]:
        """The environment it needs."""
        found = dict(os.environ)
        if self.library_path:
            found["LD_LIBRARY_PATH"] = self.library_path
        return found


def smtp_sink_program() -> Program:
    """Postfix' ``smtp-sink`` (smtp-sink(1)), a mail server that misbehaves as told.  Raises `ServerMissing`.

    Its first arguments are those of `smtp_sink_user`.  For example ``smtp-sink 127.0.0.1:2525 100``.
    """
    return _program("smtp-sink", ("postfix",))


def smtp_sink_user() -> list[str]:
    """As root it wants to be told whom to become, ``root`` will do; anybody else it would refuse to become anyone."""
    return ["-u", "root"] if os.getuid() == 0 else []


def nginx_program() -> Program:
    """``nginx``; start it with ``-p DIRECTORY -c FILE -e stderr``.  Raises `ServerMissing`.

    The configuration must name its ``pid`` and ``*_temp_path``s below a directory of your own: the defaults are the system's.
    """
    return _program("nginx", ("nginx", "nginx-common"))


def promtool_program() -> Program:
    """Prometheus' ``promtool``, which checks metrics.  Raises `ServerMissing`."""
    return _program("promtool", ("prometheus",), only="usr/bin/promtool")


def mariadb_dump_program() -> Program:
    """``mariadb-dump``, which writes a backup.  Raises `ServerMissing`."""
    return _program("mariadb-dump", ("mariadb-client",), only="usr/bin/mariadb-dump")


def libfaketime() -> Path:
    """The library that, preloaded, has a program see another time (``LD_PRELOAD``, ``FAKETIME``).  Raises `ServerMissing`."""
    what_to_do = "Some tests shift the clocks of workers with libfaketime: have apt-get and dpkg-deb unpack it here, without root"
    unpacked = unpack(packages_directory() / "libfaketime", ("libfaketime",), what_to_do=what_to_do)
    return next(unpacked.root.glob("**/faketime/libfaketime.so.1"))


def packages_directory() -> Path:
    """Where packages are unpacked: ``HOLDFAST_PACKAGES_DIR``, or ``packages`` under var."""
    return Path(os.environ.get("HOLDFAST_PACKAGES_DIR") or var_dir() / "packages").absolute()


def _program(name: str, packages: tuple[str, ...], *, only: str = "") -> Program:
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + os.pathsep + SBIN)
    if found is not None:
        return Program(Path(found))
    what_to_do = (
        f"{name} is needed by some tests and benchmarks. Put it on the PATH, for example from the package {packages[0]} of your\n"
        "distribution (the service itself need not run), or have apt-get and dpkg-deb unpack it here, which needs no root"
    )
    unpacked = unpack(packages_directory() / packages[0], packages, what_to_do=what_to_do, only=only)
    for place in ("usr/sbin", "usr/bin"):
        if (path := unpacked.root / place / name).exists():
            return Program(path, unpacked.library_path)
    raise ServerMissing(
        f"the packages unpacked in {unpacked.root} hold no {name}: remove that directory.\n{what_to_do}"
    )
