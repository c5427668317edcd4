"""The order in which rows are written: that of their key, equal where the server's unique index says equal.

Two transactions that write the same rows in the same order wait for each other and cannot deadlock.  Equal keys are found
as the server would find them, collation and padding included: that is what makes "the last one in the file wins" exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from tasks.imports.number_values import INTEGER_BITS
from tasks.imports.rows import Rows
from tasks.imports.target import Column, Target
from tasks.imports.values import NULL

Weigh = Callable[[Column, Sequence[str]], Sequence[bytes]]
"""The sort weights that the server gives to literals in a column's collation; equal weights are equal keys."""

_NUMBERS = {**dict.fromkeys([*INTEGER_BITS, "bit", "year"], int), "decimal": Decimal, "float": float, "double": float}
_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
# Collations in which printable ASCII compares by letter alone, whatever the case.
_FOLDS_CASE = re.compile(
    r"(?:utf8|utf8mb3|utf8mb4|ucs2|utf16|utf32|latin1|ascii)_(?:general|unicode(?:_520)?|0900_ai|uca1400(?:_nopad)?_ai)(?:_nopad)?_ci"
)
_WEIGHTS_A_QUERY = 500


def in_key_order(rows: Rows, columns: Sequence[Column], weigh: Weigh, *, last_wins: bool) -> tuple[Rows, int]:
    """The rows sorted by their keys, and how many were left out because a later row has the same key.

    They stay out even if the server then refuses that later row: it is what the file says last.
    Without ``last_wins`` none is left out, and rows of the same key stay in the order of the file.
    """
    if not columns or not rows.values:
        return rows, 0
    sort_keys = [sort_keys_of(column, literals, weigh) for column, literals in zip(columns, rows.keys, strict=True)]
    keys: Sequence[Any] = sort_keys[0] if len(sort_keys) == 1 else list(zip(*sort_keys, strict=True))
    kept = dict(zip(keys, range(len(keys)), strict=True)).values() if last_wins else range(len(keys))
    places = sorted(kept, key=keys.__getitem__)
    superseded = len(keys) - len(places)
    if places == list(range(len(keys))):
        return rows, 0
    ordered = Rows(
        values=[rows.values[place] for place in places],
        keys=[[key[place] for place in places] for key in rows.keys],
        numbers=[rows.numbers[place] for place in places],
        problems=rows.problems,
        count=rows.count,
    )
    return ordered, superseded


def sort_keys_of(column: Column, literals: Sequence[str], weigh: Weigh) -> Sequence[Any]:
    """Values that are equal, and sort the same everywhere, where the server takes the literals for the same key."""
    if column.type in _NUMBERS:
        number = _NUMBERS[column.type]
        if NULL in literals:
            return [(False, number("0")) if literal == NULL else (True, number(literal)) for literal in literals]
        return list(map(number, literals))
    if column.type not in _TEXTS:
        return literals
    collation = column.collation or ""
    pads = not ("nopad" in collation or "_0900_" in collation or collation == "binary")
    joined = "".join(literals)
    if collation.endswith("_bin"):
        return [literal[:-1].rstrip(" ") for literal in literals] if pads and " '" in joined else literals
    if not (joined.isascii() and joined.isprintable()) or not (
        _FOLDS_CASE.fullmatch(collation) or collation == "latin1_swedish_ci"
    ):
        return weigh(column, [_unpadded(literal) for literal in literals] if pads else literals)
    folded = joined.casefold() != joined
    if pads and " '" in joined:
        literals = [_unpadded(literal) for literal in literals]
    return list(map(str.casefold, literals)) if folded else literals


def ordering(target: Target, columns: Sequence[str], key: Sequence[str]) -> tuple[str, ...]:
    """The columns to order by: the key, else a unique index that the file fills, else none."""
    if key:
        return tuple(key)
    filled = [index.columns for index in target.uniques if index.whole and set(index.columns) <= set(columns)]
    return filled[0] if filled else ()


def weights(engine: Engine) -> Weigh:
    """Weights from the server, asked for only where Python cannot know a collation's equality."""

    def weigh(column: Column, literals: Sequence[str]) -> Sequence[bytes]:
        distinct = list(dict.fromkeys(literals))
        known: dict[str, bytes] = {}
        with engine.connect() as connection:
            for start in range(0, len(distinct), _WEIGHTS_A_QUERY):
                part = distinct[start : start + _WEIGHTS_A_QUERY]
                # The collation's name is information_schema's; the literals are quoted by the converters.
                asked = ",".join(
                    f"WEIGHT_STRING(CONVERT({literal} USING {column.charset}) COLLATE {column.collation})"
                    for literal in part
                )
                row = connection.exec_driver_sql(f"SELECT {asked}", execution_options={"no_parameters": True}).one()
                known.update((literal, weight or b"") for literal, weight in zip(part, row, strict=True))
        return [known[literal] for literal in literals]

    return weigh


def _unpadded(literal: str) -> str:
    return literal if literal == NULL else literal[:-1].rstrip(" ") + "'"
