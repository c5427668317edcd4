"""The table's side: rows read under lock and written in few statements; what the server refuses of one row is that row's.

Identifiers come from the server's own schema, never from data; values go as parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Integer, MetaData, Table
from sqlalchemy.exc import DBAPIError, NoSuchTableError

from tasks.imports.refusals import refusal
from tasks.sync.connections import SyncKind
from tasks.sync.errors import BadTable, Unfit
from tasks.sync.statements import execute, literals
from tasks.sync.values import Fit, dump, fitter

T = TypeVar("T")
MAX_ROWS = 200
"""Rows a statement."""
INT_TEXT = 19


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its id as text, its synced columns in their one form, when it was last changed (aware UTC) if a column says."""

    id: str
    values: Mapping[str, Any]
    changed_at: datetime | None = None


class LocalTable:
    """The table of one kind of record, as the server has it."""

    def __init__(self, kind: SyncKind, table: Table, quote: Callable[[str], str]) -> None:
        self.kind = kind
        self.columns = kind.columns
        self._check(table)
        key = table.c[kind.key]
        self.numeric_key = isinstance(key.type, Integer)
        # SQLAlchemy reflects AUTO_INCREMENT of the primary key as autoincrement=True.
        self.generated_key = table.autoincrement_column is key and key.autoincrement is True
        if not self.generated_key and kind.key not in kind.columns:
            raise BadTable(
                f"{kind.table}.{kind.key} is not AUTO_INCREMENT, so new rows need it from the record: add it to columns="
            )
        self._fits: dict[str, Fit] = {name: fitter(table.c[name]) for name in kind.columns}
        self._json = {name for name in kind.columns if "JSON" in str(table.c[name].type).upper()}
        self._name, self._key = quote(kind.table), quote(kind.key)
        self._quoted = {name: quote(name) for name in kind.columns}
        # In statements without parameters a percent sign stands for itself.
        self._raw_name, self._raw_key = _raw(kind.table), _raw(kind.key)
        self._raw = {name: _raw(name) for name in kind.columns}
        read = [self._key, *self._quoted.values(), *([quote(kind.changed_at)] if kind.changed_at else [])]
        self._select = f"SELECT {', '.join(read)} FROM {self._name}"

    def _check(self, table: Table) -> None:
        kind = self.kind
        wanted = {kind.key, *kind.columns, *([kind.changed_at] if kind.changed_at else [])}
        missing = wanted - set(table.c.keys())
        if missing:
            raise BadTable(f"table {kind.table} has no column {', '.join(sorted(missing))}")
        if [column.name for column in table.primary_key] != [kind.key]:
            raise BadTable(f"{kind.table}.{kind.key} must be the table's primary key, alone")
        if table.dialect_options["mysql"].get("engine", "InnoDB").lower() != "innodb":
            raise BadTable(f"{kind.table} is not InnoDB: what is written there could not be taken back")

    def fit(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """A record's columns in their one form, all of them; raises `Unfit`."""
        return {name: fit(columns.get(name)) for name, fit in self._fits.items()}

    def fit_some(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Likewise for those of them that are given; others are left out."""
        return {name: self._fits[name](value) for name, value in columns.items() if name in self._fits}

    # -- reading ----------------------------------------------------------------------------------------------------------

    def read(self, connection: Connection, ids: Iterable[str], *, lock: bool = False) -> dict[str, Row]:
        """The rows with these ids, by id; ``lock``: nobody changes them before this transaction ends."""
        wanted = sorted({self._id(i) for i in ids if self._is_id(i)})
        found: dict[str, Row] = {}
        for start in range(0, len(wanted), 1000):
            part = wanted[start : start + 1000]
            marks = ", ".join(["%s"] * len(part))
            sql = f"{self._select} WHERE {self._key} IN ({marks}) ORDER BY {self._key}{' FOR UPDATE' if lock else ''}"
            found |= {row.id: row for row in map(self._row, connection.exec_driver_sql(sql, tuple(part)))}
        return found

    def page(self, connection: Connection, after: str | None, limit: int) -> list[Row]:
        """The next ``limit`` rows in order of their keys."""
        where, values = ("", ()) if after is None else (f" WHERE {self._key} > %s", (self._id(after),))
        sql = f"{self._select}{where} ORDER BY {self._key} LIMIT {int(limit)}"
        return [self._row(row) for row in connection.exec_driver_sql(sql, values)]

    def matching(self, connection: Connection, values: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Row]:
        """The rows whose ``match`` columns have these values, under lock; where several do, none: it would be a guess."""
        found: dict[tuple[Any, ...], list[Row]] = {}
        names = [self._quoted[name] for name in self.kind.match]
        some = [v for v in dict.fromkeys(values) if all(part is not None for part in v)]
        for start in range(0, len(some), MAX_ROWS):
            part = some[start : start + MAX_ROWS]
            marks = ", ".join(["(" + ", ".join(["%s"] * len(names)) + ")"] * len(part))
            sql = f"{self._select} WHERE ({', '.join(names)}) IN ({marks}) ORDER BY {self._key} FOR UPDATE"
            for row in map(self._row, connection.exec_driver_sql(sql, tuple(x for v in part for x in v))):
                found.setdefault(tuple(row.values[name] for name in self.kind.match), []).append(row)
        return {key: rows[0] for key, rows in found.items() if len(rows) == 1}

    def _row(self, row: Sequence[Any]) -> Row:
        columns = self.columns
        values = {
            name: None if value is None else self._fits[name](value)
            for name, value in zip(columns, row[1 : len(columns) + 1], strict=True)
        }
        at = row[len(columns) + 1] if self.kind.changed_at else None
        return Row(str(row[0]), values, at.replace(tzinfo=UTC) if isinstance(at, datetime) else None)

    def _is_id(self, text: str) -> bool:
        return not self.numeric_key or (text.lstrip("-").isdecimal() and text.isascii() and len(text) <= INT_TEXT + 1)

    def _id(self, text: str) -> Any:
        return int(text) if self.numeric_key else text

    # -- writing ----------------------------------------------------------------------------------------------------------

    def insert(self, connection: Connection, rows: Sequence[tuple[Mapping[str, Any], str | None]]) -> list[str | Unfit]:
        """Insert rows, each with the id that it shall have (None: a new one); the ids, or why a row was refused."""
        done: list[str | Unfit] = []
        explicit = [place for place, (_, wanted) in enumerate(rows) if wanted is not None]
        if explicit or not self.generated_key:
            return _each(rows, lambda row: self._insert_one(connection, *row))
        for start in range(0, len(rows), MAX_ROWS):
            part = rows[start : start + MAX_ROWS]
            done += _all_or_each(
                part,
                lambda some: self._insert_many(connection, [values for values, _ in some]),
                lambda row: self._insert_one(connection, *row),
            )
        return done

    def _insert_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """One INSERT: a statement that knows its number of rows takes its AUTO_INCREMENT values in one go, in their order."""
        literal = literals(connection)
        values = (f"({', '.join(literal(self._written(name, row[name])) for name in self.columns)})" for row in rows)
        inserted = execute(
            connection,
            f"INSERT INTO {self._raw_name} ({', '.join(self._raw[n] for n in self.columns)}) VALUES {', '.join(values)}",
        )
        first, step = inserted.lastrowid, _increment(connection)
        return [str(first + place * step) for place in range(len(rows))]

    def _insert_one(self, connection: Connection, row: Mapping[str, Any], wanted: str | None) -> str:
        columns = {self._quoted[name]: self._written(name, row[name]) for name in self.columns}
        if wanted is not None:
            columns[self._key] = self._id(wanted)
        sql = f"INSERT INTO {self._name} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"
        inserted = connection.exec_driver_sql(sql, tuple(columns.values()))
        if wanted is not None:
            return wanted
        return str(inserted.lastrowid) if self.generated_key else str(row[self.kind.key])

    def update(self, connection: Connection, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Unfit]:
        """Write these columns of these rows, which the transaction holds; whose row was refused, and why."""
        by_columns: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
        for row_id, values in sorted(changes.items(), key=lambda item: self._id(item[0])):
            if values:
                by_columns.setdefault(tuple(sorted(values)), []).append((row_id, values))
        refused: dict[str, Unfit] = {}
        for rows in by_columns.values():
            for start in range(0, len(rows), MAX_ROWS):
                part = rows[start : start + MAX_ROWS]
                ends = _all_or_each(
                    part,
                    lambda some: self._update_many(connection, some),
                    lambda row: self._update_many(connection, [row])[0],
                )
                refused |= {row[0]: end for row, end in zip(part, ends, strict=True) if isinstance(end, Unfit)}
        return refused

    def _update_many(self, connection: Connection, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """One UPDATE for rows of which the same columns change."""
        literal = literals(connection)
        keys = [literal(self._id(row_id)) for row_id, _ in rows]
        key = self._raw_key
        sets = []
        for name in rows[0][1]:
            values = (literal(self._written(name, row[name])) for _, row in rows)
            whens = " ".join(f"WHEN {one} THEN {value}" for one, value in zip(keys, values, strict=True))
            sets.append(f"{self._raw[name]} = CASE {key} {whens} END")
        execute(connection, f"UPDATE {self._raw_name} SET {', '.join(sets)} WHERE {key} IN ({', '.join(keys)})")
        return [row_id for row_id, _ in rows]

    def delete(self, connection: Connection, ids: Sequence[str]) -> dict[str, Unfit]:
        """Delete these rows; whose row was refused (a foreign key), and why."""

        def many(some: Sequence[str]) -> list[str]:
            marks = ", ".join(["%s"] * len(some))
            connection.exec_driver_sql(
                f"DELETE FROM {self._name} WHERE {self._key} IN ({marks})", tuple(self._id(i) for i in some)
            )
            return list(some)

        ends = _all_or_each(sorted(ids), many, lambda row_id: many([row_id])[0])
        return {row_id: end for row_id, end in zip(sorted(ids), ends, strict=True) if isinstance(end, Unfit)}

    def _written(self, name: str, value: Any) -> Any:
        return dump(value) if name in self._json and value is not None else value


def _raw(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _increment(connection: Connection) -> int:
    step = connection.info.get("holdfast_increment")
    if step is None:
        step = int(connection.exec_driver_sql("SELECT @@session.auto_increment_increment").scalar_one())
        connection.info["holdfast_increment"] = step
    return int(step)


def _all_or_each(
    items: Sequence[T],
    many: Callable[[Sequence[T]], Sequence[str]],
    one: Callable[[T], str],
) -> list[str | Unfit]:
    """All in one statement; where the server refuses a row of it, one by one, so that the others are written."""
    if not items:
        return []
    try:
        # Without a savepoint: InnoDB undoes a statement that fails as a whole, and after a deadlock there is none to go back to.
        return list(many(items))
    except DBAPIError as error:
        if refusal(error) is None:
            raise
    return _each(items, one)


def _each(items: Iterable[T], one: Callable[[T], str]) -> list[str | Unfit]:
    done: list[str | Unfit] = []
    for item in items:
        try:
            done.append(one(item))
        except DBAPIError as error:
            problem = refusal(error)
            if problem is None:
                raise
            done.append(Unfit(problem.code, "row", problem.reason))
    return done


def local_table(engine: Engine, kind: SyncKind) -> LocalTable:
    """The table as it is now, from the server's schema; raises `BadTable`."""
    try:
        table = Table(kind.table, MetaData(), autoload_with=engine, resolve_fks=False)
    except NoSuchTableError:
        raise BadTable(f"there is no table {kind.table} in the database: create it first") from None
    quote = engine.dialect.identifier_preparer.quote_identifier
    return LocalTable(kind, table, lambda name: quote(name).replace("%", "%%"))
