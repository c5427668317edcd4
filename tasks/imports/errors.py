"""What can be wrong with an import as a whole; what is wrong with one row is a `Problem`, and becomes a reject."""

from __future__ import annotations

from typing import NamedTuple


class ImportsError(Exception):
    """Base of every error that says why a whole import cannot be done; no attempt more would change it."""


class BadSource(ImportsError):
    """The file cannot be imported as it is; the message names the file, the line where there is one, and the remedy."""

    def __init__(self, path: str, message: str, *, line: int | None = None) -> None:
        super().__init__(f"{path}{f', line {line}' if line else ''}: {message}")
        self.path = path
        self.line = line


class SourceChanged(BadSource):
    """The file is not the one that was planned."""


class BadTarget(ImportsError):
    """The table, its columns or its keys do not take this import."""

    def __init__(self, table: str, message: str) -> None:
        super().__init__(f"table {table}: {message}")
        self.table = table


class ServerChangedValues(ImportsError):
    """The server took a row with a warning, so it stored something else than what the file says; nothing is kept."""


class Problem(NamedTuple):
    """Why one row is rejected.

    ``code`` is a stable word that people count and filter by; ``reason`` is a sentence with the value in it.
    """

    column: str | None
    code: str
    reason: str


class Unfit(ValueError):
    """One value does not fit its column."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
