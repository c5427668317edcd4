"""Rows of a kind of job that retention forgets: with their run, or by their age alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, text


@dataclass(frozen=True, slots=True)
class OfRuns:
    """Rows that go with their run: ``column`` of ``table`` holds its id, and is indexed."""

    table: str
    column: str = "run_id"

    def forget(self, connection: Connection, run_ids: Sequence[str], most: int) -> int:
        """Delete up to ``most`` rows of these runs; how many there were."""
        statement = text(f"DELETE FROM {self.table} WHERE {self.column} IN :run_ids LIMIT :most")
        return connection.execute(
            statement.bindparams(bindparam("run_ids", expanding=True)), {"run_ids": list(run_ids), "most": most}
        ).rowcount


@dataclass(frozen=True, slots=True)
class Aged:
    """Rows that hang on no run, and go once ``where`` holds, which may name the days of `runstate.purge.Keep`.

    ``key``  the table's primary key

    Example: ``Aged("sync_audit", "at < NOW(6) - INTERVAL :audit_days DAY")``.
    """

    table: str
    where: str
    key: tuple[str, ...] = ("id",)

    def count(self, connection: Connection, days: Mapping[str, int]) -> int:
        """How many would go now."""
        return int(connection.scalar(text(f"SELECT COUNT(*) FROM {self.table} WHERE {self.where}"), dict(days)) or 0)

    def forget(self, connection: Connection, days: Mapping[str, int], most: int) -> int:
        """Delete up to ``most`` of them; how many there were."""
        # Found without a lock, deleted by primary key: a scan that deletes would lock what it only looks at.
        found = connection.execute(
            text(f"SELECT {', '.join(self.key)} FROM {self.table} WHERE {self.where} LIMIT :most"),
            {**days, "most": most},
        ).all()
        if not found:
            return 0
        places = ", ".join(["(" + ", ".join(["%s"] * len(self.key)) + ")"] * len(found))
        return connection.exec_driver_sql(
            f"DELETE FROM {self.table} WHERE ({', '.join(self.key)}) IN ({places})",
            tuple(value for row in found for value in row),
        ).rowcount
