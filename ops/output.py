"""What a command prints: text for people, or with ``--json`` one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_ENDLESS = 10_000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would exit with 1: a reader that has seen enough is no failure, see `ops.cli.main`.
        raise BrokenPipeError


class Output:
    """Standard output.  Everything shown goes through `plain`: keys, reasons and errors are other people's text."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = _Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            # A pipe has no width: nothing is cut or wrapped for grep.
            self.console = _Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=_ENDLESS)

    def document(self, value: Any) -> None:
        """Print ``value`` as JSON; with ``--json`` this is all that a command prints."""
        print(json.dumps(jsonable(value), indent=2, ensure_ascii=False))

    def json_line(self, value: Any) -> None:
        """Print ``value`` as one line of JSON, at once."""
        print(json.dumps(jsonable(value), ensure_ascii=False), flush=True)

    def say(self, sentence: str = "", style: str = "") -> None:
        """Print a line."""
        self.console.print(Text(plain(sentence), style=style), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], styles: Sequence[str] = ()) -> None:
        """Print a table; a ``columns`` name that ends in ``>`` is aligned to the right; ``styles`` one per row."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in columns:
            table.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", overflow="fold")
        for number, row in enumerate(rows):
            style = styles[number] if styles else ""
            table.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row), style=style)
        with self.console.capture() as captured:
            self.console.print(table)
        # Rich fills every line up with blanks.
        sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")


def error_line(message: str) -> None:
    """Print a complaint to standard error."""
    print(f"ops: {plain(message)}", file=sys.stderr)


def plain(text: str) -> str:
    """``text`` without anything that could steer a terminal or forge a line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def jsonable(value: Any) -> Any:
    """``value`` for JSON: dataclasses as objects, times as ISO 8601 in UTC."""
    match value:
        case Enum():
            return value.value
        case datetime():
            # From the database naive, from Redis aware: UTC, both.
            naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return naive.isoformat(timespec="microseconds") + "Z"
        case Mapping():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item) for item in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return jsonable(asdict(value))
        case _:
            return value


def duration(seconds: float | None) -> str:
    """``seconds`` as people say it: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 7 min``, ``4 d 1 h``."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    for size, unit, lower_size, lower in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // lower_size} {lower}"
    return f"{whole} s"


def moment(at: datetime | None) -> str:
    """A naive UTC time as people read it."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"
