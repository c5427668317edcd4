"""A connection of the test's own, as root, that comes back after the server does; and the shots of failpoints."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pymysql
from pymysql.cursors import Cursor, DictCursor

from stack.endpoints import DATABASE, HOST
from stack.private import Servers
from tests.e2e.harness import wait_until

PATIENCE_S = 60.0


class Database:
    """What MySQL says, whatever the stack is doing; answers wait up to a minute for a server that is away."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._connection: Any = None

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement, committed."""
        return self._rows(Cursor, statement, values)

    def record(self, statement: str, *values: Any) -> dict[str, Any]:
        """The only row, by the names of its columns."""
        (found,) = self._rows(DictCursor, statement, values)
        return cast("dict[str, Any]", found)

    def _rows(self, kind: type[Cursor], statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self._connected().cursor(kind) as cursor:
                    cursor.execute(statement, values or None)
                    return list(cursor.fetchall())
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError, OSError):
                self._connection = None
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.05)

    def row(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """The only row."""
        (found,) = self.rows(statement, *values)
        return found

    def value(self, statement: str, *values: Any) -> Any:
        """The only value."""
        return self.row(statement, *values)[0]

    def now(self) -> datetime:
        """The database's clock."""
        moment: datetime = self.value("SELECT NOW(6)")
        return moment

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = pymysql.connect(
                host=HOST,
                port=self._servers.endpoints.mariadb_port,
                user="root",
                password=self._servers.endpoints.mariadb_root_password,
                database=DATABASE,
                autocommit=True,
                connect_timeout=2,
                init_command="SET SESSION time_zone = '+00:00'",
            )
        return self._connection


class Failpoints:
    """Shots for `tasks.failpoints`: each fires once, in whichever process comes by first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clear()

    def clear(self) -> None:
        """Take all shots out."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def load(self, point: str, action: str, times: int = 1) -> None:
        """Have the next ``times`` passes of ``point`` do ``action``; whom it hit before is forgotten."""
        for shot in self.directory.glob(f"{point}.*.fired"):
            shot.unlink()
        for number in range(times):
            # Renamed into its place: a process that came by in between would read an empty action.
            draft = self.directory / f"draft.{number}"
            draft.write_text(action, encoding="ascii")
            draft.rename(self.directory / f"{point}.{number}")

    def unload(self, point: str) -> None:
        """Take the shots of ``point`` out that have not fired."""
        for shot in self.directory.glob(f"{point}.*"):
            if not shot.name.endswith(".fired"):
                shot.unlink(missing_ok=True)

    def fired(self, point: str) -> list[int]:
        """Process ids of those that the shots hit."""
        return [int(shot.name.split(".")[-2]) for shot in sorted(self.directory.glob(f"{point}.*.fired"))]

    def wait_fired(self, point: str, times: int = 1, timeout_s: float = 30.0) -> list[int]:
        """Wait until so many shots have fired; whom they hit."""
        wait_until(lambda: len(self.fired(point)) >= times, timeout_s, f"{times} hits of {point}")
        return self.fired(point)
