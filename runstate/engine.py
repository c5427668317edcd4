"""The engine: one per process, made after the fork, its sessions set up and asserted."""

from __future__ import annotations

from typing import Any

import sqlalchemy
from pymysql.constants import CLIENT
from sqlalchemy import Engine, event

from runstate.errors import BadSession

SQL_MODE = "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
LOCK_WAIT_S = 10
CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_S = 120
RECYCLE_S = 1800
IDLE_WRITE_S = 5
"""How long a transaction that has written may wait for its next statement.  A worker that is stopped, or a host that is
gone, in the middle of its record would hold the locks on its job and its run for as long as the connection lives."""

_SET_UP = (
    f"SET SESSION time_zone = '+00:00', SESSION sql_mode = '{SQL_MODE}', SESSION innodb_lock_wait_timeout = {LOCK_WAIT_S}"
    # MariaDB alone has it; MySQL takes this for a comment.
    f" /*M!100300 , SESSION idle_write_transaction_timeout = {IDLE_WRITE_S} */"
)


def make_engine(
    url: str,
    *,
    pool_size: int = 3,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    answer_timeout_s: float = STATEMENT_TIMEOUT_S,
) -> Engine:
    """An engine for ``url`` whose every session is READ COMMITTED, UTC and strict.

    READ COMMITTED: with REPEATABLE READ, ``SELECT … FOR UPDATE`` on an absent key and then INSERT deadlocks nearly always.
    Never auto-reconnect: a silent reconnect resets all of this; a lost connection must be seen and its transaction redone.
    """
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=10,
        pool_recycle=RECYCLE_S,
        # A connection comes back after a commit, or after the rollback of a transaction that was left; another one each
        # time is a trip for nothing.
        pool_reset_on_return=None,
        connect_args={
            "connect_timeout": connect_timeout_s,
            "read_timeout": answer_timeout_s,
            "write_timeout": answer_timeout_s,
            "charset": "utf8mb4",
            "init_command": _SET_UP,
            # FOUND_ROWS: an UPDATE counts the rows that it finds, changed or not.  LOCAL_FILES: imports load new rows out of
            # memory; but for that one statement the driver refuses a server that asks for a file (its local_infile is off).
            "client_flag": CLIENT.FOUND_ROWS | CLIENT.LOCAL_FILES,
        },
    )
    event.listen(engine, "connect", _set_up_session)
    return engine


def _set_up_session(connection: Any, _record: Any) -> None:
    """Set the isolation level and assert the whole set-up, once per connection."""
    cursor = connection.cursor()
    try:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')")
        isolation = {value for _, value in cursor.fetchall()}
        cursor.execute("SELECT @@session.time_zone, @@session.sql_mode, @@session.autocommit")
        zone, mode, autocommit = cursor.fetchone()
    finally:
        cursor.close()
    connection.rollback()
    missing = set(SQL_MODE.split(",")) - set(str(mode).split(","))
    if isolation != {"READ-COMMITTED"} or zone != "+00:00" or missing or autocommit != 0:
        raise BadSession(
            f"a new MySQL session has isolation {sorted(isolation)}, time_zone {zone}, autocommit {autocommit}, and lacks "
            f"sql_mode {sorted(missing)}; Holdfast needs READ-COMMITTED, +00:00, 0 and strict mode: look for a proxy, an "
            "init_connect or a server setting that resets them"
        )
