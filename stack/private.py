"""A pair of private servers as children of this process, for tests and benchmarks."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.endpoints import Endpoints
from stack.errors import ServerFailed
from stack.layout import PROJECT
from stack.mariadb import configure_mariadb, ping_mariadb
from stack.mariadb_programs import mariadb_programs
from stack.server_process import ServerProcess
from stack.valkey import configure_valkey, ping_valkey


@dataclass(frozen=True, slots=True)
class Servers:
    """Two running servers: ``servers.valkey`` and ``servers.mariadb`` can be killed, frozen and restarted."""

    directory: Path
    endpoints: Endpoints
    valkey: ServerProcess
    mariadb: ServerProcess

    @property
    def database_url(self) -> str:
        """The application's database as the application's user."""
        return self.endpoints.database_url

    @property
    def admin_url(self) -> str:
        """The same database as root."""
        return self.endpoints.admin_url

    @property
    def redis_url(self) -> str:
        """Locks, limits and epoch."""
        return self.endpoints.redis_url

    @property
    def broker_url(self) -> str:
        """Celery's messages."""
        return self.endpoints.broker_url

    def environment(self) -> dict[str, str]:
        """The environment variables that point the application at these servers."""
        return self.endpoints.environment()


@contextmanager
def private_servers(
    directory: Path, *, endpoints: Endpoints | None = None, buffer_mb: int = 128, migrate: bool = True
) -> Iterator[Servers]:
    """Start a Valkey and a MariaDB with their files in ``directory``, stop both at the end.

    Both die with this process, however it dies.  ``endpoints``: ports and passwords to use; ``buffer_mb``: InnoDB's buffer
    pool in MiB; ``migrate``: bring the schema up to date.  Raises `ServerMissing` or `ServerFailed`.
    """
    chosen = endpoints or Endpoints.generate()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    programs = mariadb_programs()
    valkey = ServerProcess(
        "valkey",
        configure_valkey(directory / "valkey", chosen, durable=False),
        os.environ,
        directory / "valkey.log",
        lambda: ping_valkey(chosen),
    )
    mariadb = ServerProcess(
        "mariadb",
        configure_mariadb(directory / "mariadb", programs, chosen, buffer_mb=buffer_mb),
        programs.environment(),
        directory / "mariadb.log",
        lambda: ping_mariadb(chosen),
    )
    try:
        valkey.launch()
        mariadb.launch()
        valkey.wait_up()
        mariadb.wait_up()
        if migrate:
            migrate_schema(chosen.environment())
        yield Servers(directory, chosen, valkey, mariadb)
    finally:
        # Nobody reads the data of a test again, so there is nothing to flush.
        mariadb.kill()
        valkey.kill()


def migrate_schema(environment: dict[str, str]) -> None:
    """Bring the schema up to date with ``python -m runstate.migrate``; raises `ServerFailed` with what it printed."""
    if importlib.util.find_spec("runstate") is None or importlib.util.find_spec("runstate.migrate") is None:
        return
    done = subprocess.run(
        [sys.executable, "-m", "runstate.migrate"],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerFailed(f"the schema could not be brought up to date:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
