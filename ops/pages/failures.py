"""What a page says instead, when something goes wrong: a status and a sentence, never a statement or its values."""

from __future__ import annotations

from kombu.exceptions import OperationalError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tornado.web import HTTPError

from locks import LocksError
from ops.errors import UsageError
from runstate.errors import DatabaseUnavailable, NotFound, RunstateError
from tasks.errors import TasksError

_OTHER_SCHEMA = ((1054,), (1146,), (1176,))
"""MySQL's numbers for a column, a table, an index that is not there: one was deployed before the other."""


def told(status_code: int, error: BaseException | None) -> tuple[int, str]:
    """What the answer to ``error`` is, and what it says."""
    match error:
        case HTTPError():
            return status_code, error.log_message or {404: "There is no such page"}.get(status_code, "Not allowed")
        case NotFound():
            return 404, str(error)
        case UsageError():
            return 400, str(error)
        case DatabaseUnavailable():
            return 503, f"{error}. Running jobs wait or go on; this page comes back with MySQL."
        case LocksError() | OperationalError():
            return 503, str(error)
        case RunstateError() | TasksError():
            return 409, str(error)
        case DBAPIError() if error.orig is not None and error.orig.args[:1] in _OTHER_SCHEMA:
            return (
                503,
                f"The database is not at this program's schema: run python -m runstate.migrate. ({error.orig.args[1]})",
            )
        case SQLAlchemyError() | OSError():
            return 503, f"{type(error).__name__}: {str(getattr(error, 'orig', error))[:300]}"
    return status_code, f"Error {status_code}. Flower's log says more."
