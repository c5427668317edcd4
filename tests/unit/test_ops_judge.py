"""What `ops check` thinks of servers and settings: a table of facts and verdicts."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.transport.redis import Transport as KombusTransport
from kombu.transport.virtual import Transport as AnotherTransport

from locks import ServerFacts
from ops.judge_database import judge_database
from ops.judge_redis import judge_redis
from ops.judge_settings import judge_celery, judge_kinds, judge_lock_ttl
from tasks.kinds import JobKind
from tasks.transport import Transport

NOW = 1_800_000_000.0
GOOD = {
    "version_text": "10.11.19-MariaDB-log",
    "now_utc": str(NOW),
    "session_zone_s": "0",
    "innodb_support": "DEFAULT",
    "foreign_engines": "",
    "binlog_format": "MIXED",
    "innodb_flush_log_at_trx_commit": "1",
    "log_bin": "ON",
    "max_allowed_packet": "67108864",
    "max_connections": "151",
    "max_used_connections": "20",
    "read_only": "OFF",
    "threads_connected": "10",
    "wait_timeout": "28800",
    "wsrep_on": "OFF",
}


def database(**facts: str) -> dict[str, str]:
    """The verdicts that are not ok, by name."""
    checks = judge_database(GOOD | facts, now_s=NOW, revision="7", newest="7")
    return {check.name: check.level for check in checks if check.level != "ok"}


@pytest.mark.parametrize(
    ("facts", "verdicts"),
    [
        ({}, {}),
        ({"version_text": "10.6.0-MariaDB"}, {}),
        ({"version_text": "11.8.2-MariaDB-ubu2404"}, {}),
        ({"version_text": "8.0.36"}, {}),
        ({"version_text": "9.1.0-commercial"}, {}),
        ({"version_text": "5.5.5-10.11.6-MariaDB"}, {}),
        ({"version_text": "10.5.29-MariaDB"}, {"version": "fail"}),
        ({"version_text": "5.7.44"}, {"version": "fail"}),
        ({"session_zone_s": "3600"}, {"session": "fail"}),
        ({"now_utc": str(NOW - 3)}, {"clock": "warn"}),
        ({"now_utc": str(NOW + 90)}, {"clock": "fail"}),
        ({"innodb_support": "NO"}, {"innodb": "fail"}),
        ({"foreign_engines": "old_orders"}, {"innodb": "warn"}),
        ({"read_only": "ON"}, {"primary": "fail"}),
        ({"super_read_only": "1"}, {"primary": "fail"}),
        ({"wsrep_on": "ON"}, {"one writer": "fail"}),
        (
            {"group_replication_group_name": "aaaa", "group_replication_single_primary_mode": "OFF"},
            {"one writer": "fail"},
        ),
        ({"group_replication_group_name": "aaaa", "group_replication_single_primary_mode": "ON"}, {}),
        ({"group_replication_group_name": "", "group_replication_single_primary_mode": "OFF"}, {}),
        ({"binlog_format": "STATEMENT"}, {"binlog": "fail"}),
        ({"binlog_format": "STATEMENT", "log_bin": "OFF"}, {}),
        ({"innodb_flush_log_at_trx_commit": "2"}, {"commits": "warn"}),
        ({"max_allowed_packet": "1048576"}, {"max_allowed_packet": "fail"}),
        ({"wait_timeout": "600"}, {"wait_timeout": "warn"}),
        ({"threads_connected": "130"}, {"connections": "warn"}),
    ],
)
def test_a_database_is_judged_by_what_the_protocol_needs(facts: dict[str, str], verdicts: dict[str, str]) -> None:
    """Each fact that breaks a promise fails alone, with advice; the others stay ok."""
    assert database(**facts) == verdicts


@pytest.mark.parametrize("revision", [None, "6", "8"])
def test_a_schema_of_another_revision_fails(revision: str | None) -> None:
    """Older, newer or none: this code does not fit."""
    checks = {check.name: check for check in judge_database(GOOD, now_s=NOW, revision=revision, newest="7")}
    assert checks["schema"].level == "fail"
    assert "runstate.migrate" in checks["schema"].advice


@pytest.mark.parametrize(
    ("facts", "verdicts"),
    [
        ({}, {}),
        ({"version": (6, 0, 16)}, {"r: version": "fail"}),
        ({"version": (7, 2, 4)}, {}),
        ({"role": "slave"}, {"r: role": "fail"}),
        ({"cluster": True}, {"r: role": "fail"}),
        ({"eviction": "allkeys-lru"}, {"r: eviction": "fail"}),
        ({"eviction": "volatile-ttl"}, {"r: eviction": "fail"}),
        ({"eviction": "allkeys-lru", "max_memory_bytes": 0}, {"r: eviction": "warn"}),
        ({"eviction": None, "max_memory_bytes": None}, {"r: eviction": "warn"}),
        ({"now_s": NOW + 5}, {"r: clock": "warn"}),
    ],
)
def test_a_redis_is_judged_by_what_locks_and_messages_need(facts: dict[str, Any], verdicts: dict[str, str]) -> None:
    """What would lose locks or messages fails."""
    good: dict[str, Any] = {
        "version": (7, 0, 15),
        "role": "master",
        "cluster": False,
        "max_memory_bytes": 2**29,
        "eviction": "noeviction",
        "now_s": NOW,
    }
    checks = judge_redis("r", ServerFacts(**(good | facts)), now_s=NOW)
    assert {check.name: check.level for check in checks if check.level != "ok"} == verdicts


@pytest.mark.parametrize(
    ("ttl_s", "level"), [(0.5, "warn"), (1.75, "warn"), (2, "ok"), (5, "ok"), (60, "ok"), (61, "warn")]
)
def test_a_lock_must_outlive_a_slow_redis_and_not_a_coffee_break(ttl_s: float, level: str) -> None:
    """Too short a time to live, or too long a one, warns."""
    assert judge_lock_ttl(ttl_s).level == level


def test_a_job_that_may_outlast_supervisors_patience_is_told() -> None:
    """timeout_s above the stop time-out: a deploy would kill such a job."""
    kind = JobKind(name="slow", queue="q", plan=lambda args: [], perform=lambda work: None, timeout_s=1000)
    assert {check.name: check.level for check in judge_kinds([kind], 960)} == {"job time-outs": "warn", "leases": "ok"}
    assert {check.level for check in judge_kinds([kind], 1000)} == {"ok"}


CELERY = {
    "task_acks_late": False,
    "broker_transport_options": {"socket_timeout": 2, "socket_connect_timeout": 1},
    "accept_content": ["json"],
    "worker_consumer": "tasks.consumer:Consumer",
    "worker_pool": "prefork",
}


@pytest.mark.parametrize(
    ("changed", "transport", "failed"),
    [
        ({}, Transport, None),
        ({}, AnotherTransport, None),
        ({}, KombusTransport, "celery: bad messages"),
        ({"worker_consumer": "celery.worker.consumer:Consumer"}, Transport, "celery: bad messages"),
        ({"task_acks_late": True}, Transport, "celery: acknowledgement"),
        ({"broker_transport_options": {"socket_timeout": 2}}, Transport, "celery: time-outs"),
        ({"broker_transport_options": None}, Transport, "celery: time-outs"),
        ({"accept_content": ["json", "pickle"]}, Transport, "celery: accepted content"),
        ({"worker_pool": "threads"}, Transport, "celery: pool"),
    ],
)
def test_a_celery_setting_that_breaks_a_promise_fails(
    changed: dict[str, Any], transport: object, failed: str | None
) -> None:
    """Whoever changes celeryconfig.py learns what it breaks."""
    checks = judge_celery(CELERY | changed, transport)
    assert [check.name for check in checks if check.level != "ok"] == ([failed] if failed else [])
    assert all(check.advice for check in checks if check.level != "ok")
