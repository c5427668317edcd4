"""A backup of the private MariaDB as the handbook has it made and put back: ``mariadb-dump`` and ``mariadb``."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stack.debian import mariadb_dump_program
from stack.endpoints import DATABASE, HOST
from stack.mariadb_programs import mariadb_programs
from stack.private import Servers


def back_up(servers: Servers, target: Path) -> None:
    """One consistent snapshot, while everything goes on."""
    program = mariadb_dump_program()
    with target.open("wb") as file:
        subprocess.run(
            [str(program.path), *_login(servers, target), "--single-transaction", "--quick", DATABASE],
            env=program.environment(),
            stdout=file,
            check=True,
        )


def restore(servers: Servers, source: Path) -> None:
    """Every table as it was; what was made since is gone."""
    programs = mariadb_programs()
    # The client lies beside the server, in the package that the server's needs.
    client = programs.server.parent.parent / "bin" / "mariadb"
    with source.open("rb") as file:
        subprocess.run(
            [str(client), *_login(servers, source), DATABASE], env=programs.environment(), stdin=file, check=True
        )


def _login(servers: Servers, beside: Path) -> list[str]:
    # In a file of its own: on the command line every user of the machine could read the password.
    file = beside.with_suffix(".cnf")
    file.touch(mode=0o600)
    ends = servers.endpoints
    file.write_text(
        f"[client]\nhost={HOST}\nport={ends.mariadb_port}\nuser=root\npassword={ends.mariadb_root_password}\n",
        encoding="utf-8",
    )
    return [f"--defaults-file={file}"]
