"""One transaction, done as a whole: redone after a deadlock, after a lost connection, and resolved when COMMIT is unknown."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from runstate.errors import CommitUnknown, DatabaseUnavailable, is_lost, must_redo, mysql_code

T = TypeVar("T")
log = logging.getLogger("holdfast.runstate")

MAX_REDOS = 20
_PAUSE_CAP_S = 0.5


def in_transaction(
    engine: Engine,
    steps: Callable[[Connection], T],
    *,
    wait_for_database_s: float = 0.0,
    committed: Callable[[Connection], T | None] | None = None,
) -> T:
    """Run ``steps(connection)`` in one transaction and commit it; return what ``steps`` returned.

    ``steps`` may run several times, so it must write through its connection only.

    ``wait_for_database_s``  how long to go on trying while MySQL cannot be reached (0: one fresh connection more, for the
                             pool may have handed out one that had died)
    ``committed``            called on a new connection after a COMMIT whose answer was lost: returns the result if that
                             transaction did commit, None if not (then it is done again).  It must lock the first row that
                             ``steps`` wrote, so that it waits for a COMMIT that is still under way.

    Raises `DatabaseUnavailable` (nothing was committed), `CommitUnknown` (no ``committed`` given, or no answer in time), and
    whatever ``steps`` raises (rolled back).
    """
    give_up_at = time.monotonic() + wait_for_database_s
    redos = 0
    unknown = False
    while True:
        try:
            if unknown:
                found = _look(engine, committed)
                if found is not None:
                    return found
                unknown = False
            return _once(engine, steps)
        except _CommitLost as lost:
            if committed is None:
                raise CommitUnknown(f"the connection was lost during COMMIT: {lost}") from lost
            unknown = True
            give_up_at = max(give_up_at, time.monotonic() + 1)
        except (DBAPIError, OSError, PoolTimeout) as error:
            redos += 1
            if must_redo(error) and redos <= MAX_REDOS:
                log.info("transaction redone after MySQL error %s (%d)", mysql_code(error), redos)
            elif not (is_lost(error) or isinstance(error, PoolTimeout)):
                raise
            elif time.monotonic() >= give_up_at and redos > 1:
                if unknown:
                    raise CommitUnknown(f"COMMIT lost its answer and MySQL stays away: {error}") from error
                raise DatabaseUnavailable(f"MySQL does not answer: {_short(error)}") from error
        time.sleep(random.uniform(0, min(_PAUSE_CAP_S, 0.01 * 2 ** min(redos, 8))))


class _CommitLost(Exception):
    """COMMIT was sent and its answer never came."""


def _once(engine: Engine, steps: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        result = steps(connection)
        try:
            connection.commit()
        except (DBAPIError, OSError) as error:
            if is_lost(error):
                connection.invalidate()
                raise _CommitLost(_short(error)) from error
            raise
        return result


def _look(engine: Engine, committed: Callable[[Connection], T | None] | None) -> T | None:
    if committed is None:
        return None
    with engine.connect() as connection:
        found = committed(connection)
        connection.rollback()
        return found


def _short(error: BaseException) -> str:
    """The driver's own message, without the statement and its parameters (they may hold payloads)."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return f"{type(origin).__name__}: {str(origin)[:300]}"
