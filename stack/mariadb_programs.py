"""Getting hold of MariaDB: from the PATH, from the distribution's packages installed, or unpacked under ``var``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from stack.errors import ServerMissing
from stack.layout import var_dir
from stack.mariadb import MariaDB
from stack.packages import SBIN, unpack

PACKAGES = ("mariadb-server-core", "mariadb-client-core", "mariadb-common", "mysql-common")
_WHAT_TO_DO = (
    "Holdfast needs a MariaDB server (10.6 or newer). Do one of these:\n"
    "  - install it: `apt-get install mariadb-server` (Debian, Ubuntu), `dnf install mariadb-server` (Fedora, RHEL),\n"
    "    `apk add mariadb` (Alpine); it need not be started\n"
    "  - put `mariadbd` and `mariadb-install-db` on the PATH\n"
    "  - set DATABASE_URL to a MariaDB or MySQL database of your own (not for `make test`)"
)


def mariadb_programs() -> MariaDB:
    """A MariaDB that can be started here, fetched if it must be.

    ``HOLDFAST_MARIADB=path`` takes only an installed one, ``=packages`` only an unpacked one.  Raises `ServerMissing`.
    """
    wanted = os.environ.get("HOLDFAST_MARIADB", "")
    if wanted not in ("", "path", "packages"):
        raise ServerMissing(f"HOLDFAST_MARIADB={wanted!r}: leave it unset, or say `path` or `packages`")
    if wanted != "packages":
        found = _on_path()
        if found is not None:
            return found
        if wanted == "path":
            raise ServerMissing(f"mariadbd is not on the PATH, and HOLDFAST_MARIADB=path.\n{_WHAT_TO_DO}")
        if os.getuid() == 0 and shutil.which("apt-get") and _install():
            found = _on_path()
            if found is not None:
                return found
    return _unpacked(unpack_directory())


def unpack_directory() -> Path:
    """Where packages are unpacked: ``HOLDFAST_MARIADB_DIR``, or ``mariadb-packages`` under var."""
    return Path(os.environ.get("HOLDFAST_MARIADB_DIR") or var_dir() / "mariadb-packages").absolute()


def _on_path() -> MariaDB | None:
    path = os.environ.get("PATH", os.defpath) + os.pathsep + SBIN
    server = shutil.which("mariadbd", path=path)
    install_db = shutil.which("mariadb-install-db", path=path)
    return MariaDB(server=Path(server), install_db=Path(install_db)) if server and install_db else None


def _unpacked(directory: Path) -> MariaDB:
    unpacked = unpack(directory, PACKAGES, what_to_do=_WHAT_TO_DO)
    root = unpacked.root
    server = next(
        (root / place / "mariadbd" for place in ("usr/sbin", "usr/bin") if (root / place / "mariadbd").exists()), None
    )
    install_db = root / "usr/bin/mariadb-install-db"
    if server is None or not install_db.exists():
        raise ServerMissing(f"the packages unpacked in {root} hold no mariadbd: remove that directory.\n{_WHAT_TO_DO}")
    return MariaDB(server=server, install_db=install_db, basedir=root / "usr", library_path=unpacked.library_path)


def _install() -> bool:
    """Install the server's packages as root, without starting any service; False if apt could not."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return True
    return False
