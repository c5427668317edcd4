"""The target: a table of the application's schema, with its real columns and unique indexes as the server has them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text

from tasks.imports.errors import BadTarget


@dataclass(frozen=True, slots=True)
class Column:
    """One column, from information_schema.

    ``type`` is the bare type (``decimal``), ``full_type`` the declared one (``decimal(8,2) unsigned``); ``length`` is in
    characters, ``octets`` in bytes, ``fraction`` in digits of a second.  ``required``: a row without it has no value for it.
    """

    name: str
    type: str
    full_type: str
    nullable: bool
    required: bool
    generated: bool
    auto_increment: bool
    length: int | None = None
    octets: int | None = None
    precision: int | None = None
    scale: int | None = None
    fraction: int = 0
    charset: str | None = None
    collation: str | None = None
    json: bool = False

    @property
    def unsigned(self) -> bool:
        """Whether it takes no negative number."""
        return "unsigned" in self.full_type

    @property
    def members(self) -> tuple[str, ...]:
        """The values of an enum or a set."""
        return tuple(quoted.replace("''", "'") for quoted in re.findall(r"'((?:[^']|'')*)'", self.full_type))


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A primary key or a unique index; ``whole``: of whole columns, not of prefixes or expressions."""

    name: str
    columns: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A table that may be imported into."""

    name: str
    columns: dict[str, Column]
    uniques: tuple[UniqueIndex, ...]
    max_packet: int
    """The server's max_allowed_packet in bytes: no statement may be longer."""

    def fingerprint(self, names: Iterable[str]) -> str:
        """A hash of all that an import into these columns depends on: another one means that the table was altered."""
        parts = [self.name, [self.columns[name] for name in names], self.uniques]
        parts.append(sorted(column.name for column in self.columns.values() if column.required))
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def read_target(
    connection: Connection, name: str, *, reserved: Collection[str], allowed: Collection[str] = ()
) -> Target:
    """The table ``name`` of the connection's schema; raises `BadTarget` if imports may not or cannot write it.

    ``reserved``  tables that no import may touch (our own)
    ``allowed``   the allow-list; empty: every table that is not reserved
    """
    if name in reserved:
        raise BadTarget(name, "belongs to Holdfast itself; import into a table of the application")
    if allowed and name not in allowed:
        raise BadTarget(
            name,
            f"is not on the list of tables that imports may write ({', '.join(sorted(allowed))}); see IMPORT_TABLES",
        )
    found = [row for row in connection.execute(_TABLES, {"name": name}) if row.table_name == name]
    if not found:
        raise BadTarget(name, "there is no such table in the application's schema; create it first")
    if found[0].table_type != "BASE TABLE" or str(found[0].engine).lower() != "innodb":
        raise BadTarget(
            name, f"is a {found[0].table_type} of engine {found[0].engine}; imports need an InnoDB table to be exact"
        )
    columns = _columns(connection, name)
    max_packet = connection.scalar(text("SELECT @@session.max_allowed_packet")) or 0
    return Target(name, columns, _uniques(connection, name), int(max_packet))


# Aliases in lower case: MySQL 8 names these columns in capitals, MariaDB does not.
_TABLES = text(
    "SELECT table_name AS table_name, table_type AS table_type, engine AS engine FROM information_schema.tables "
    "WHERE table_schema = DATABASE() AND table_name = :name"
)
_COLUMNS = text(
    "SELECT column_name AS name, data_type AS type, column_type AS full_type, is_nullable AS nullable, "
    "column_default AS default_value, extra AS extra, character_maximum_length AS length, character_octet_length AS octets, "
    "numeric_precision AS num_precision, numeric_scale AS num_scale, datetime_precision AS fraction, "
    "character_set_name AS charset, collation_name AS collation FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = :name ORDER BY ordinal_position"
)
_INDEXES = text(
    "SELECT index_name AS name, column_name AS column_name, sub_part AS sub_part FROM information_schema.statistics "
    "WHERE table_schema = DATABASE() AND table_name = :name AND non_unique = 0 ORDER BY index_name, seq_in_index"
)
_JSON_CHECKS = text(
    "SELECT check_clause FROM information_schema.check_constraints "
    "WHERE constraint_schema = DATABASE() AND table_name = :name AND check_clause LIKE 'json_valid(%'"
)


def _columns(connection: Connection, name: str) -> dict[str, Column]:
    json_columns: set[str] = set()
    if getattr(connection.dialect, "is_mariadb", False):
        # MariaDB's JSON is LONGTEXT with a check; MySQL's is a type of its own.
        clauses = connection.scalars(_JSON_CHECKS, {"name": name})
        json_columns = {
            match[1].replace("``", "`")
            for clause in clauses
            if (match := re.fullmatch(r"json_valid\(`(.*)`\)", clause))
        }
    columns = {}
    for row in connection.execute(_COLUMNS, {"name": name}):
        extra = row.extra.lower()
        generated = bool(re.search(r"(virtual|stored|persistent) generated|\bvirtual\b|\bpersistent\b", extra))
        auto_increment = "auto_increment" in extra
        nullable = row.nullable == "YES"
        # MySQL marks a default that is an expression in `extra` alone.
        required = not (
            nullable or generated or auto_increment or row.default_value is not None or "default_generated" in extra
        )
        columns[row.name] = Column(
            name=row.name,
            type=row.type.lower(),
            full_type=row.full_type,
            nullable=nullable,
            required=required,
            generated=generated,
            auto_increment=auto_increment,
            length=row.length,
            octets=row.octets,
            precision=row.num_precision,
            scale=row.num_scale,
            fraction=row.fraction or 0,
            charset=row.charset,
            collation=row.collation,
            json=row.name in json_columns or row.type.lower() == "json",
        )
    return columns


def _uniques(connection: Connection, name: str) -> tuple[UniqueIndex, ...]:
    parts: dict[str, list[tuple[str | None, int | None]]] = {}
    for row in connection.execute(_INDEXES, {"name": name}):
        parts.setdefault(row.name, []).append((row.column_name, row.sub_part))
    return tuple(
        UniqueIndex(
            index,
            tuple(str(column) for column, _ in of),
            all(column is not None and prefix is None for column, prefix in of),
        )
        for index, of in parts.items()
    )
