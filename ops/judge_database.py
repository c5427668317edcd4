"""Is the database set up so that the protocol holds?  Pure: facts in, verdicts out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ops.checks import Check, judge
from runstate.engine import RECYCLE_S

LEAST_MARIADB, LEAST_MYSQL = (10, 6), (8, 0)
LEAST_PACKET_BYTES = 16 * 1024 * 1024
SKEW_WARN_S, SKEW_FAIL_S = 1.0, 30.0
CROWDED = 0.8


def judge_database(facts: Mapping[str, str], *, now_s: float, revision: str | None, newest: str) -> list[Check]:
    """The verdicts on `runstate.server.server_facts`.

    ``now_s``     this host's clock when they were asked, in seconds since 1970
    ``revision``  of the schema, None if there is none;  ``newest`` the one that this code stands on
    """
    return [
        _version(facts["version_text"]),
        judge(
            "schema",
            f"revision {revision or 'none'}, this code stands on {newest}",
            good=revision == newest,
            advice="run `python -m runstate.migrate`; if the database is the newer one, update this code",
        ),
        judge(
            "session",
            f"READ COMMITTED and strict, NOW() is {facts['session_zone_s']} s from UTC",
            good=abs(float(facts["session_zone_s"])) <= 1,
            advice="something sets another time_zone for our sessions: a proxy, or init_connect",
        ),
        _skew(float(facts["now_utc"]) - now_s),
        _engines(facts),
        _primary(facts),
        _one_writer(facts),
        _binlog(facts),
        _durable(facts),
        judge(
            "max_allowed_packet",
            f"{int(facts['max_allowed_packet']) // 2**20} MiB",
            good=int(facts["max_allowed_packet"]) >= LEAST_PACKET_BYTES,
            advice="set max_allowed_packet=64M: statements are bounded to about 1 MiB, a single large row is not",
        ),
        judge(
            "wait_timeout",
            f"{facts['wait_timeout']} s, connections are replaced after {RECYCLE_S} s",
            good=int(facts["wait_timeout"]) > RECYCLE_S,
            advice=f"set wait_timeout above {RECYCLE_S}: the server would close connections that we still count on",
            level="warn",
        ),
        _room(facts),
    ]


def _version(text: str) -> Check:
    numbers = tuple(int(part) for part in re.match(r"(?:5\.5\.5-)?([\d.]+)", text).group(1).split(".")[:2])  # type: ignore[union-attr]
    mariadb = "mariadb" in text.lower()
    return judge(
        "version",
        f"{'MariaDB' if mariadb else 'MySQL'} {text}",
        good=numbers >= (LEAST_MARIADB if mariadb else LEAST_MYSQL),
        advice="MariaDB 10.6 or MySQL 8.0 at least: SKIP LOCKED is needed",
    )


def _skew(skew_s: float) -> Check:
    # Leases and due times are the database's alone; only what people compare in logs suffers, unless it is far off.
    return judge(
        "clock",
        f"the database's is {skew_s:+.1f} s from this host's",
        good=abs(skew_s) <= SKEW_WARN_S,
        advice="run chrony or another NTP client on both",
        level="warn" if abs(skew_s) <= SKEW_FAIL_S else "fail",
    )


def _engines(facts: Mapping[str, str]) -> Check:
    foreign = facts["foreign_engines"]
    supported = facts["innodb_support"] in ("DEFAULT", "YES")
    return judge(
        "innodb",
        f"tables of other engines: {foreign}" if foreign else f"support: {facts['innodb_support']}",
        good=supported and not foreign,
        advice="ALTER TABLE … ENGINE=InnoDB: what is written to another engine is not rolled back"
        if supported
        else "the server was started without InnoDB; there are no transactions without it",
        level="warn" if supported else "fail",
    )


def _primary(facts: Mapping[str, str]) -> Check:
    read_only = "ON" in (_flag(facts, "read_only"), _flag(facts, "super_read_only"))
    return judge(
        "primary",
        "read only" if read_only else "takes writes",
        good=not read_only,
        advice="DATABASE_URL leads to a replica, or the server is in maintenance: it must be the primary",
    )


def _one_writer(facts: Mapping[str, str]) -> Check:
    galera = _flag(facts, "wsrep_on") == "ON"
    group = (
        bool(facts.get("group_replication_group_name"))
        and _flag(facts, "group_replication_single_primary_mode") == "OFF"
    )
    return judge(
        "one writer",
        "Galera (wsrep_on)"
        if galera
        else "group replication with several primaries"
        if group
        else "no multi-writer cluster",
        good=not (galera or group),
        advice="a cluster with several writers loses updates, and with them fences and claims: use one primary",
    )


def _binlog(facts: Mapping[str, str]) -> Check:
    form = facts.get("binlog_format", "ROW").upper()
    logging = _flag(facts, "log_bin") == "ON"
    return judge(
        "binlog",
        f"binlog_format={form}" if logging else "off",
        good=not logging or form in ("ROW", "MIXED"),
        advice="set binlog_format=ROW: with STATEMENT, InnoDB refuses every write under READ COMMITTED (error 1665)",
    )


def _durable(facts: Mapping[str, str]) -> Check:
    value = facts.get("innodb_flush_log_at_trx_commit", "1")
    return judge(
        "commits",
        f"innodb_flush_log_at_trx_commit={value}",
        good=value == "1",
        advice="set it to 1: otherwise a power failure takes back up to a second of starts that were accepted",
        level="warn",
    )


def _room(facts: Mapping[str, str]) -> Check:
    used, most = int(facts["threads_connected"]), int(facts["max_connections"])
    return judge(
        "connections",
        f"{used} of {most} in use, {facts['max_used_connections']} at most so far",
        good=used < most * CROWDED,
        advice="raise max_connections: each worker child holds up to 3, each worker and dispatcher 1 more",
        level="warn",
    )


def _flag(facts: Mapping[str, str], name: str) -> str:
    return {"1": "ON", "0": "OFF"}.get(value := facts.get(name, "OFF").upper(), value)
