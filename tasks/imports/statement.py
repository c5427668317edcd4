"""The statement of an import: one INSERT of many rows, and for an upsert what happens to a row that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.imports.errors import BadTarget
from tasks.imports.matching import key_index
from tasks.imports.number_values import INTEGER_BITS
from tasks.imports.target import Target

MAX_STATEMENT_BYTES = 1024 * 1024
"""Larger gains nothing; beyond max_allowed_packet the server answers 1153, or cuts the connection, which looks transient."""
OVERFLOW = "99999999999999999999"
"""A number that no integer column takes."""
PROBE = "/*probe*/"
FILE = "/*file*/"


@dataclass(frozen=True, slots=True)
class Statement:
    """``head`` (row),(row),… ``tail``.

    ``guarded``       the column through which a row that would update another key's row fails; None where none could
    ``probe``         the tail for a single row: if the row was there, ``@holdfast`` is afterwards what stood for `PROBE`
    ``load``          the same rows as a file: `FILE` stands for its path; None where a file could not say what they are
    ``max_bytes``     how long a statement should be; ``max_row_bytes``: how long a single row may make it
    """

    head: str
    tail: str
    probe: str
    guarded: str | None
    load: str | None
    max_bytes: int
    max_row_bytes: int

    @property
    def upserts(self) -> bool:
        """Whether a row whose key is there already is updated."""
        return bool(self.tail)

    def text(self, rows: Sequence[str]) -> str:
        """The statement for ``rows``, each the literals of one row joined by commas."""
        return f"{self.head}({'),('.join(rows)}){self.tail}"


def statement(target: Target, columns: Sequence[str], key: Sequence[str], mode: str) -> Statement:
    """The statement that writes ``columns`` of ``target``; raises `BadTarget` where an upsert could not be exact."""
    head = f"INSERT INTO {name(target.name)} ({','.join(map(name, columns))}) VALUES "
    max_bytes = min(MAX_STATEMENT_BYTES, target.max_packet // 2)
    tail = probe = ""
    guarded = None
    index = key_index(target, key, columns, mode)
    if index is not None:
        others = [
            unique
            for unique in target.uniques
            if unique != index
            and not any(
                target.columns[part].auto_increment and part not in columns
                for part in unique.columns
                if part in target.columns
            )
        ]
        updates = [f"{name(column)}=VALUES({name(column)})" for column in columns if column not in key]
        first = name(key[0])
        if others:
            guarded, guard = _guard(target, key, [unique.name for unique in others])
            updates.insert(0, guard)
        tail = f" ON DUPLICATE KEY UPDATE {','.join(updates or [f'{first}={first}'])}"
        probe = f" ON DUPLICATE KEY UPDATE {','.join([*updates, f'{first}=IF((@holdfast:={PROBE}),{first},{first})'])}"
    max_row_bytes = max(target.max_packet - 1024 - len(head) - len(tail), 0)
    return Statement(head, tail, probe, guarded, _load(target, columns), max_bytes, max_row_bytes)


def _load(target: Target, columns: Sequence[str]) -> str | None:
    r"""LOAD DATA for a file of rows as the converters write them: 'quoted' texts with \\ and '', bare numbers, bare NULL."""
    if any(target.columns[column].type == "bit" for column in columns):
        # There a file holds the bits themselves, not a number.
        return None
    return (
        f"LOAD DATA LOCAL INFILE '{FILE}' INTO TABLE {name(target.name)} CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' "
        rf"OPTIONALLY ENCLOSED BY '\'' ESCAPED BY '\\' LINES TERMINATED BY '\n' ({','.join(map(name, columns))})"
    )


def name(identifier: str) -> str:
    """An identifier, which comes from information_schema, quoted."""
    return "`" + identifier.replace("`", "``") + "`"


def _guard(target: Target, key: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    """An assignment that keeps the key as it is, and fails where the row found is another key's.

    ON DUPLICATE KEY UPDATE updates whichever row collides first, by any unique index: without this, a new key whose e-mail
    address belongs to another row would overwrite that row.  NULL in a NOT NULL column is an error in strict mode; but for
    an AUTO_INCREMENT column it means 0 and for a TIMESTAMP now, so integers get a number that no column takes.
    """
    same = " AND ".join(f"{name(part)}<=>VALUES({name(part)})" for part in key)
    for part in key:
        column = target.columns[part]
        if column.type in INTEGER_BITS:
            return part, f"{name(part)}=IF({same},{name(part)},{OVERFLOW})"
        if not column.nullable and column.type != "timestamp":
            return part, f"{name(part)}=IF({same},{name(part)},NULL)"
    raise BadTarget(
        target.name,
        f"the key's columns may be NULL and the table has other unique indexes ({', '.join(others)}), so an upsert could change "
        "the wrong row; make a column of the key NOT NULL",
    )
