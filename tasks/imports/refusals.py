"""What the server says of one row, told apart from what it says of the statement, the table or the connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from tasks.imports.errors import Problem

ROW_ERRORS = {
    1062: "duplicate_key",
    1586: "duplicate_key",
    1216: "foreign_key",
    1217: "foreign_key",
    1451: "foreign_key",
    1452: "foreign_key",
    1557: "foreign_key",
    1761: "foreign_key",
    1762: "foreign_key",
    3819: "check_constraint",
    4025: "check_constraint",
    1644: "trigger",
    **dict.fromkeys(
        [1048, 1118, 1264, 1265, 1292, 1365, 1366, 1367, 1406, 1411, 1690, 3140, 3141, 3156, 3157], "server_refused"
    ),
}
"""By MySQL's error numbers, the codes of the rejects. Whatever is not here is no row's fault and is passed on."""
SIGNALLED = "45000"
"""SQLSTATE of what a trigger of the application raises, whatever number it gave it."""
GUARD_ERRORS = (1048, 1264)


def refusal(error: DBAPIError, guarded: str | None = None) -> Problem | None:
    """What the server has against one row, or None where the error is not a row's.

    ``guarded``: the column through which the statement's guard fails (see `tasks.imports.statement`).
    """
    args: Sequence[Any] = getattr(error.orig, "args", ())
    code, message = (args[0], str(args[1])) if len(args) > 1 else (None, "")
    kind = ROW_ERRORS.get(code) if isinstance(code, int) else None
    if kind is None and getattr(error.orig, "sqlstate", None) == SIGNALLED:
        kind = "trigger"
    if kind is None:
        return None
    if guarded is not None and code in GUARD_ERRORS and f"'{guarded}'" in message:
        return Problem(
            None,
            "other_unique_key",
            "another row, with another key, has this row's value in a unique index that is not the key",
        )
    return Problem(None, kind, f"MySQL {code}: {message}")
