"""Getting hold of MariaDB: from the PATH, from the distribution's packages installed, or unpacked under ``var``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from stack.errors import ServerMissing
from stack.layout import var_dir
from stack.mariadb import MariaDB

PACKAGES = ("mariadb-server-core", "mariadb-client-core", "mariadb-common", "mysql-common")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")
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
    path = os.environ.get("PATH", os.defpath) + os.pathsep + _SBIN
    server = shutil.which("mariadbd", path=path)
    install_db = shutil.which("mariadb-install-db", path=path)
    return MariaDB(server=Path(server), install_db=Path(install_db)) if server and install_db else None


def _unpacked(directory: Path) -> MariaDB:
    root = directory / "root"
    if not root.is_dir():
        _unpack(directory)
    server = next(
        (root / place / "mariadbd" for place in ("usr/sbin", "usr/bin") if (root / place / "mariadbd").exists()), None
    )
    install_db = root / "usr/bin/mariadb-install-db"
    if server is None or not install_db.exists():
        raise ServerMissing(f"the packages unpacked in {root} hold no mariadbd: remove that directory.\n{_WHAT_TO_DO}")
    libraries = sorted({str(file.parent) for file in root.glob("**/lib/**/*.so*")})
    return MariaDB(server=server, install_db=install_db, basedir=root / "usr", library_path=os.pathsep.join(libraries))


def _install() -> bool:
    """Install the server's packages as root, without starting any service; False if apt could not."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return True
    return False


def _unpack(directory: Path) -> None:
    """Download the server's packages and the libraries that this machine lacks, and unpack them into ``directory/root``."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ServerMissing(
            f"mariadbd is not on the PATH, and there is no apt-get and dpkg-deb to fetch it with.\n{_WHAT_TO_DO}"
        )
    debs, beside = directory / "debs", directory / "root.new"
    for old in (debs, beside):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    complaint = _download(debs, []) and _download(debs, _own_lists(directory))
    if complaint:
        raise ServerMissing(f"the MariaDB packages could not be fetched: {complaint}\n{_WHAT_TO_DO}")
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(deb), str(beside)], check=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(debs)
    # Renamed last: a set-up that is stopped in the middle starts over.
    beside.rename(directory / "root")


def _download(debs: Path, options: list[str]) -> str:
    """Fetch the packages into ``debs``; returns what apt said if it failed, else the empty text."""
    names = [*PACKAGES, *_missing_libraries(options)]
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


def _missing_libraries(options: list[str]) -> list[str]:
    """What apt would install besides: exactly the libraries that are not here.  A simulation needs no root."""
    done = subprocess.run(
        ["apt-get", *options, "install", "--simulate", "--no-install-recommends", *PACKAGES],
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
