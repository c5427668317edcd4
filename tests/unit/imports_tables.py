"""Columns and tables as information_schema would describe them, for tests without a server."""

from __future__ import annotations

from typing import Any

from tasks.imports.target import Column, Target, UniqueIndex


def column(name: str, full_type: str, **details: Any) -> Column:
    """A column of the declared type, nullable unless said otherwise, with what the type implies filled in."""
    bare, _, rest = full_type.partition("(")
    numbers = [int(n) for n in rest.split(")")[0].split(",")] if rest[:1].isdigit() else []
    kind = bare.split()[0]
    given: dict[str, Any] = {"nullable": True, "required": False, "generated": False, "auto_increment": False}
    if kind in ("char", "varchar"):
        given |= {
            "length": numbers[0],
            "octets": numbers[0] * 4,
            "charset": "utf8mb4",
            "collation": "utf8mb4_general_ci",
        }
    elif kind.endswith("text"):
        size = {"tinytext": 2**8, "text": 2**16, "mediumtext": 2**24, "longtext": 2**32}[kind] - 1
        given |= {"length": size, "octets": size, "charset": "utf8mb4", "collation": "utf8mb4_general_ci"}
    elif kind in ("decimal", "float", "double", "bit"):
        given |= {"precision": numbers[0] if numbers else None, "scale": numbers[1] if len(numbers) > 1 else None}
    elif kind in ("datetime", "timestamp", "time"):
        given |= {"fraction": numbers[0] if numbers else 0}
    return Column(name=name, type=kind, full_type=full_type, **(given | details))


def table(*columns: Column, uniques: dict[str, tuple[str, ...]] | None = None, max_packet: int = 2**24) -> Target:
    """A table called ``t``."""
    indexes = tuple(UniqueIndex(name, parts, whole=True) for name, parts in (uniques or {}).items())
    return Target("t", {column.name: column for column in columns}, indexes, max_packet)
