"""One converter per column: texts of the file into SQL literals, many at once, each exact or a problem."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from tasks.imports import number_values, text_values, time_values
from tasks.imports.errors import BadTarget, Problem, Unfit
from tasks.imports.target import Column, Target

NULL = "NULL"

Converter = Callable[[Sequence[str]], tuple[Sequence[str], dict[int, Problem]]]
"""Literals, one a value, and the problems by place; a literal with a problem means nothing."""

_One = Callable[[str], str]
_Bulk = Callable[[Sequence[str]], Sequence[str] | None]

_KINDS: dict[str, Callable[[Column], tuple[_One, _Bulk | None]]] = {
    **dict.fromkeys([*number_values.INTEGER_BITS, "bit"], number_values.integers),
    "year": number_values.years,
    "decimal": number_values.decimals,
    "float": number_values.floats,
    "double": number_values.floats,
    "date": time_values.dates,
    "datetime": time_values.moments,
    "timestamp": time_values.moments,
    "time": time_values.times,
    **dict.fromkeys(["char", "varchar", "tinytext", "text", "mediumtext", "longtext"], text_values.texts),
    "enum": text_values.enums,
    "set": text_values.sets,
    "json": text_values.json_documents,
    "uuid": text_values.uuids,
}


def converters(
    target: Target,
    columns: Sequence[str],
    nulls: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    key: Collection[str] = (),
) -> list[Converter]:
    """The converters of ``columns``; raises `BadTarget` for a type that no text can be converted to for certain.

    ``key``: columns that take no NULL here, whatever the table says: NULL equals nothing, so no row could be found by it.
    """
    found = []
    by_column = nulls if isinstance(nulls, Mapping) else dict.fromkeys(columns, nulls)
    for name in by_column:
        if name not in columns:
            raise BadTarget(target.name, f"nulls names {name}, which is none of the imported columns")
    for name in columns:
        column = target.columns[name]
        if column.type not in _KINDS:
            remedy = "a type that imports cannot fill from text; leave it out with mapping={header: None}"
            raise BadTarget(target.name, f"{name} is {column.full_type}, {remedy}")
        text_values.check_charset(target.name, column)
        column = replace(column, nullable=column.nullable and name not in key)
        found.append(converter(column, by_column.get(name, ("",))))
    return found


def converter(column: Column, nulls: Collection[str]) -> Converter:
    """The converter of one column; the texts ``nulls`` are NULL where the column takes it, else a problem."""
    one, bulk = _KINDS[column.type](column)
    null_texts = frozenset(nulls)

    def convert(values: Sequence[str]) -> tuple[Sequence[str], dict[int, Problem]]:
        if null_texts.isdisjoint(values):
            literals = bulk(values) if bulk else None
            return (literals, {}) if literals is not None else _each(values)
        if bulk and column.nullable:
            present = [value for value in values if value not in null_texts]
            literals = bulk(present) if present else ()
            if literals is not None:
                following = iter(literals)
                return [NULL if value in null_texts else next(following) for value in values], {}
        return _each(values)

    # Values repeat within a column far more often than not: each distinct one is converted once in a chunk.
    known: dict[str, str] = {}
    unfit: dict[str, Problem] = {}

    def _each(values: Sequence[str]) -> tuple[Sequence[str], dict[int, Problem]]:
        try:
            return list(map(known.__getitem__, values)), {}
        except KeyError:
            for value in set(values) - known.keys():
                try:
                    known[value] = _null(value) if value in null_texts else one(value)
                except Unfit as error:
                    unfit[value] = Problem(column.name, error.code, error.reason)
        problems = {place: unfit[value] for place, value in enumerate(values) if value in unfit} if unfit else {}
        return [known.get(value, NULL) for value in values], problems

    def _null(value: str) -> str:
        if column.nullable:
            return NULL
        raise Unfit(
            "null", f"{value!r} stands for NULL here (see nulls), and {column.name} may not be NULL in this import"
        )

    return convert
