"""What a kind has to say of one run, as figures and short tables, for whoever shows it.

A kind declares ``JobKind(report=...)``, a function ``(connection, seen) -> Report``.  It reads, within bounds: a page waits for
it, and a run may have millions of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.kinds import Args

Tone = Literal["", "good", "warn", "bad"]
MOST_ROWS = 20
"""As many rows as a table should have at most: the commands in ``todo`` have the rest."""


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The run that a report is about.

    ``totals``  its result once it has ended; until then the sums of the numbers in its done jobs' results
    """

    run_id: str
    args: Args
    ended: bool
    totals: Mapping[str, Any]

    def figures(self, *names: str) -> list[Figure]:
        """Those of the totals that there are, each as a figure of its own name."""
        return [Figure(name.replace("_", " "), self.totals[name]) for name in names if name in self.totals]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, or a word, with what it is called."""

    label: str
    value: int | float | str | None
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A few rows.  A column whose name ends in ``>`` holds numbers; ``note`` says what is left out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Figures first, then tables, then what can be done: sentences, with commands between backticks."""

    title: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    todo: Sequence[str] = ()
