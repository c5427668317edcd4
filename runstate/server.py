"""How the database server is set up, as far as the protocol stands on it."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, text

_VARIABLES = (
    "binlog_format",
    "group_replication_group_name",
    "group_replication_single_primary_mode",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "max_allowed_packet",
    "max_connections",
    "read_only",
    "super_read_only",
    "wait_timeout",
    "wsrep_on",
)
_STATUS = ("threads_connected", "max_used_connections")


def server_facts(connection: Connection) -> dict[str, str]:
    """Global variables and status of the server, by name in lower case; what it does not have is left out.

    Besides: ``version_text``, ``now_utc`` (seconds since 1970), ``session_zone_s`` (how far NOW() is from UTC),
    ``innodb_support`` (DEFAULT, YES, NO), ``foreign_engines`` (tables of this database that are not InnoDB).
    """
    facts: dict[str, str] = {}
    for kind, names in (("VARIABLES", _VARIABLES), ("STATUS", _STATUS)):
        query = text(f"SHOW GLOBAL {kind} WHERE Variable_name IN :names")
        rows = connection.execute(query.bindparams(bindparam("names", expanding=True)), {"names": list(names)})
        facts |= {str(name).lower(): str(value) for name, value in rows}
    facts["version_text"] = str(connection.scalar(text("SELECT VERSION()")))
    facts["now_utc"] = str(
        connection.scalar(text("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6"))
    )
    facts["session_zone_s"] = str(connection.scalar(text("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), NOW())")))
    facts["innodb_support"] = str(
        connection.scalar(text("SELECT support FROM information_schema.engines WHERE engine = 'InnoDB'"))
    )
    foreign = connection.scalars(
        text(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY table_name"
        )
    )
    facts["foreign_engines"] = ",".join(str(name) for name in foreign)
    return facts
