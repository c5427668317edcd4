"""The private MariaDB: its configuration, its data directory, its accounts."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pymysql

from stack.endpoints import DATABASE, HOST, Endpoints
from stack.errors import ServerFailed
from stack.layout import socket_path
from stack.secret_files import write_secret


@dataclass(frozen=True, slots=True)
class MariaDB:
    """The programs of one MariaDB, installed or unpacked.

    ``basedir``      the directory above ``share``; None: as compiled in
    ``library_path`` directories of shared libraries that the system lacks; empty for an installed server
    """

    server: Path
    install_db: Path
    basedir: Path | None = None
    library_path: str = ""

    def environment(self) -> dict[str, str]:
        """The environment its programs need."""
        found = dict(os.environ)
        if self.library_path:
            found["LD_LIBRARY_PATH"] = self.library_path
        return found


def configure_mariadb(directory: Path, programs: MariaDB, endpoints: Endpoints, *, buffer_mb: int) -> list[str]:
    """Write ``my.cnf`` and ``accounts.sql`` (mode 0600), fill the data directory if it is new, return the start command.

    ``buffer_mb``: InnoDB's buffer pool, in MiB.  Raises `ServerFailed` if the data directory cannot be filled.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("tmp", "files"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)
    write_secret(directory / "accounts.sql", _accounts(endpoints))
    write_secret(directory / "my.cnf", _config(directory, programs, endpoints, buffer_mb))
    if not (directory / "data" / "mysql").is_dir():
        _fill_data(directory, programs)
    return [str(programs.server), f"--defaults-file={directory / 'my.cnf'}"]


def _config(directory: Path, programs: MariaDB, endpoints: Endpoints, buffer_mb: int) -> str:
    settings = {
        "datadir": directory / "data",
        "tmpdir": directory / "tmp",
        "socket": socket_path(directory, "mariadb.sock"),
        "pid-file": directory / "mariadb.pid",
        "bind-address": HOST,
        "port": endpoints.mariadb_port,
        # Run before the first connection is taken: the passwords of stack.env hold from the first moment, at every start.
        "init-file": directory / "accounts.sql",
        # Only ever loopback; a reverse look-up could hang every connection.
        "skip-name-resolve": "ON",
        # Without it a client's text would be stored as latin1.
        "character-set-server": "utf8mb4",
        "collation-server": "utf8mb4_general_ci",
        "default-time-zone": "+00:00",
        "skip-log-bin": None,
        # A commit that was answered survives the machine, not only the process.
        "innodb-flush-log-at-trx-commit": 1,
        # Two loads into one table run side by side only with 2; safe because there is no binary log.
        "innodb-autoinc-lock-mode": 2,
        "innodb-buffer-pool-size": f"{buffer_mb}M",
        "innodb-log-file-size": f"{max(32, buffer_mb // 2)}M",
        "max-allowed-packet": "64M",
        "max-connections": 200,
        # For the benchmark's LOAD DATA LOCAL INFILE; reading files of the server's own stays confined.
        "local-infile": "ON",
        "secure-file-priv": directory / "files",
        "performance-schema": "OFF",
    }
    if programs.basedir is not None:
        settings["basedir"] = programs.basedir
        settings["lc-messages-dir"] = programs.basedir / "share" / "mysql"
    if os.getuid() == 0:
        # MariaDB will not run as root unless told to. Under /root no other user could reach the data directory.
        settings["user"] = "root"
    lines = [name if value is None else f'{name} = "{value}"' for name, value in settings.items()]
    return "\n".join(["[mariadbd]", *lines]) + "\n"


def _accounts(endpoints: Endpoints) -> str:
    """One statement a line, as ``init-file`` wants it; each may run again at every start."""
    lines = [
        "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host NOT IN ('localhost', '127.0.0.1'))",
        "FLUSH PRIVILEGES",
        f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
    ]
    for host in ("localhost", "127.0.0.1"):
        for user, password in (("root", endpoints.mariadb_root_password), (DATABASE, endpoints.mariadb_password)):
            lines.append(f"CREATE USER IF NOT EXISTS '{user}'@'{host}'")
            lines.append(f"ALTER USER '{user}'@'{host}' IDENTIFIED BY '{password}'")
        lines.append(f"GRANT ALL ON *.* TO 'root'@'{host}' WITH GRANT OPTION")
        # `holdfast` and scratch databases such as `holdfast_migrations`.
        lines.append(f"GRANT ALL ON `{DATABASE}`.* TO '{DATABASE}'@'{host}'")
        lines.append(f"GRANT ALL ON `{DATABASE}\\_%`.* TO '{DATABASE}'@'{host}'")
    return "".join(f"{line};\n" for line in lines)


def _fill_data(directory: Path, programs: MariaDB) -> None:
    # A directory that was filled half, by a set-up that was stopped, would never start.
    fresh = directory / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(directory / "data", ignore_errors=True)
    # Relative: the script, a shell script, splits an absolute path at its blanks.
    command = [str(programs.install_db), "--no-defaults", f"--datadir=./{fresh.name}"]
    command += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    if programs.basedir is not None:
        command.append(f"--basedir={os.path.relpath(programs.basedir, directory)}")
    if os.getuid() == 0:
        command.append("--user=root")
    done = subprocess.run(
        command,
        cwd=directory,
        # In /tmp its temporary tables, named by process id, meet those of another container that shares it.
        env=programs.environment() | {"TMPDIR": str(directory / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerFailed(
            f"mariadb-install-db failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    fresh.rename(directory / "data")


def ping_mariadb(endpoints: Endpoints) -> bool:
    """True once the server answers the application's user."""
    try:
        pymysql.connect(
            host=HOST,
            port=endpoints.mariadb_port,
            user=DATABASE,
            password=endpoints.mariadb_password,
            database=DATABASE,
            connect_timeout=2,
            read_timeout=2,
        ).close()
    except (pymysql.MySQLError, OSError):
        return False
    return True
