"""Which column of the file goes to which column of the table."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.imports.errors import BadSource, BadTarget
from tasks.imports.target import Target, UniqueIndex

REJECT_COLUMNS = ("reject_line", "reject_column", "reject_code", "reject_reason")
"""What `export_rejects` puts before the original columns: a corrected export is imported as it is, without them."""


@dataclass(frozen=True, slots=True)
class Match:
    """``positions[i]`` is the place in a row of the file of what goes to ``columns[i]``; ``width`` is a row's length."""

    width: int
    positions: tuple[int, ...]
    columns: tuple[str, ...]


def match_columns(
    path: str,
    header: Sequence[str],
    target: Target,
    *,
    mapping: Mapping[str, str | None] | None,
    key: Sequence[str],
    mode: str,
) -> Match:
    """Resolve the header against the table; raises `BadSource` or `BadTarget` for what does not go together.

    Names come from information_schema alone: a header only chooses among them (MySQL does not tell case in column names).
    """
    mapping = mapping or {}
    _check_header(path, header, mapping)
    real = {name.casefold(): name for name in target.columns}
    positions, columns = [], []
    for position, name in enumerate(header):
        wanted = mapping.get(name, name)
        if wanted is None or (wanted in REJECT_COLUMNS and wanted not in real and name not in mapping):
            continue
        column = real.get(wanted.casefold())
        if column is None:
            raise BadSource(path, _unknown(name, wanted, header, target, mapped=name in mapping), line=1)
        if column in columns:
            raise BadSource(
                path, f"two columns of the file go to the column {column}; leave one out with mapping={{header: None}}"
            )
        if target.columns[column].generated:
            raise BadTarget(
                target.name, f"{column} is generated and takes no value; leave it out with mapping={{{name!r}: None}}"
            )
        positions.append(position)
        columns.append(column)
    _check_complete(target, columns)
    key_index(target, key, columns, mode)
    return Match(len(header), tuple(positions), tuple(columns))


def key_index(target: Target, key: Sequence[str], columns: Sequence[str], mode: str) -> UniqueIndex | None:
    """The unique index that ``key`` names, None for an `insert`; raises `BadTarget` if there is none, or the file lacks it."""
    for name in key:
        if name not in target.columns:
            raise BadTarget(target.name, f"the key's column {name} is not in the table{_near(name, target.columns)}")
        if name not in columns:
            raise BadTarget(target.name, f"the key's column {name} is not in the file; add it, or map a header to it")
    if mode == "insert":
        return None
    whole = [index for index in target.uniques if index.whole]
    for index in whole:
        if set(index.columns) == set(key):
            return index
    keys = "; ".join(f"{index.name} ({', '.join(index.columns)})" for index in whole) or "none"
    raise BadTarget(
        target.name,
        f"no unique index is exactly on ({', '.join(key)}), so an upsert could not tell which row is meant; there is: {keys}. "
        "Create one, name one of these as key, or use mode='insert'",
    )


def _check_header(path: str, header: Sequence[str], mapping: Mapping[str, str | None]) -> None:
    twice = sorted(name for name, times in Counter(header).items() if times > 1)
    if twice:
        raise BadSource(
            path, f"the header names {', '.join(map(repr, twice))} more than once; rename one of them", line=1
        )
    missing = sorted(set(mapping) - set(header))
    if missing:
        listed = ", ".join(map(repr, missing))
        raise BadSource(path, f"mapping names {listed}, which the header lacks{_near(missing[0], header)}", line=1)


def _check_complete(target: Target, columns: Sequence[str]) -> None:
    if not columns:
        raise BadTarget(target.name, "no column of the file goes to a column of the table")
    lacking = [column.name for column in target.columns.values() if column.required and column.name not in columns]
    if lacking:
        raise BadTarget(
            target.name,
            f"the file has nothing for {', '.join(lacking)}, which may not be NULL and has no default; add it or map it",
        )


def _unknown(name: str, wanted: str, header: Sequence[str], target: Target, *, mapped: bool) -> str:
    if mapped:
        return f"mapping sends {name!r} to {wanted}, which is no column of {target.name}{_near(wanted, target.columns)}"
    others = [mark for mark in (";", "\t", "|", ",") if len(header) == 1 and mark in name]
    if others:
        return f"the header is one column, {name!r}; is the delimiter {others[0]!r}?"
    hint = _near(name, target.columns)
    return f"the column {name!r} is not in {target.name}{hint}; map it to a column, or leave it out with mapping={{{name!r}: None}}"


def _near(name: str, names: Iterable[str]) -> str:
    folded = {other.strip().casefold(): other for other in names}
    close = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""
