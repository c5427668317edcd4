"""A chunk's rows as the writer takes them: converted column by column, and what does not fit set aside."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress

from tasks.imports.errors import Problem
from tasks.imports.matching import Match
from tasks.imports.reader import Batch, careful_rows, strict_rows
from tasks.imports.values import Converter


@dataclass(slots=True)
class Rows:
    """Converted rows, in the order of the file.

    ``values[i]``   literals of one row, joined by commas
    ``keys[k][i]``  literal of the k-th ordering column
    ``numbers[i]``  its place among the chunk's records, blank lines not counted
    ``problems``    by that place, why a row is rejected
    ``count``       how many rows the chunk has, good and bad
    """

    values: list[str] = field(default_factory=list)
    keys: list[list[str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    problems: dict[int, Problem] = field(default_factory=dict)
    count: int = 0


def convert_chunk(
    data: bytes,
    match: Match,
    converters: Sequence[Converter],
    order_by: Sequence[str],
    *,
    delimiter: str,
    encoding: str,
    between: Callable[[], None] = lambda: None,
) -> Rows:
    """The rows of ``data``; ``between()`` is called between batches, so that the caller can be stopped there."""
    places = [match.columns.index(name) for name in order_by]
    for read in (strict_rows, careful_rows):
        try:
            return _convert(read(data, delimiter=delimiter, encoding=encoding), match, converters, places, between)
        except csv.Error:
            continue
    raise AssertionError("careful_rows raises no csv.Error")


def _convert(
    batches: Iterable[Batch],
    match: Match,
    converters: Sequence[Converter],
    key_places: Sequence[int],
    between: Callable[[], None],
) -> Rows:
    rows = Rows(keys=[[] for _ in key_places])
    for records, malformed in batches:
        between()
        first = rows.count
        rows.count += len(records)
        if set(map(len, records)) == {match.width}:
            fitting, numbers = records, list(range(first, rows.count))
        else:
            for place, record in enumerate(records):
                if len(record) != match.width:
                    rows.problems[first + place] = malformed.get(place) or _ragged(len(record), match.width)
            fits = [len(record) == match.width for record in records]
            fitting, numbers = list(compress(records, fits)), list(compress(range(first, rows.count), fits))
        if fitting:
            _convert_columns(rows, list(zip(*fitting, strict=True)), numbers, match, converters, key_places)
    return rows


def _convert_columns(
    rows: Rows,
    columns: Sequence[Sequence[str]],
    numbers: list[int],
    match: Match,
    converters: Sequence[Converter],
    key_places: Sequence[int],
) -> None:
    problems: dict[int, list[Problem]] = {}
    literals: list[Sequence[str]] = []
    for position, convert in zip(match.positions, converters, strict=True):
        converted, found = convert(columns[position])
        literals.append(converted)
        for place, problem in found.items():
            problems.setdefault(place, []).append(problem)
    if problems:
        good = [place not in problems for place in range(len(numbers))]
        for place, of_row in problems.items():
            rows.problems[numbers[place]] = _together(of_row)
        literals = [list(compress(column, good)) for column in literals]
        numbers = list(compress(numbers, good))
    rows.values.extend(map(",".join, zip(*literals, strict=True)))
    for key, place in zip(rows.keys, key_places, strict=True):
        key.extend(literals[place])
    rows.numbers.extend(numbers)


def _together(problems: Sequence[Problem]) -> Problem:
    """One reject per row names its first column and tells of all of them, so that they can be mended in one go."""
    first = problems[0]
    if len(problems) == 1:
        return first
    return first._replace(reason="; ".join(f"{problem.column}: {problem.reason}" for problem in problems))


def _ragged(found: int, expected: int) -> Problem:
    return Problem(None, "ragged", f"{found} fields, the header has {expected}")
