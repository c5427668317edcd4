"""``ops check`` on real servers: ours pass, and each that would break a promise is found."""

from __future__ import annotations

from collections.abc import Iterator

import pymysql
import pytest
import redis

from stack.endpoints import HOST
from stack.private import Servers
from tests.integration.machinery import execute
from tests.integration.ops_command import Ops

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


@pytest.fixture
def root(servers: Servers) -> Iterator[pymysql.cursors.Cursor]:
    """The private database's administrator."""
    connection = pymysql.connect(
        host=HOST,
        port=servers.endpoints.mariadb_port,
        user="root",
        password=servers.endpoints.mariadb_root_password,
        autocommit=True,
    )
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


def wrong(ops: Ops) -> dict[str, str]:
    """The checks that are not ok."""
    return {
        check["name"]: check["level"] for check in ops("check", "--json").document["checks"] if check["level"] != "ok"
    }


def test_the_private_servers_and_the_settings_of_the_project_pass(ops: Ops) -> None:
    """Nothing is wrong with what `make up` sets up, not even a warning."""
    checked = ops("check", "--json", "--strict")
    assert wrong(ops) == {}
    assert checked.code == 0
    names = {check["name"] for check in checked.document["checks"]}
    assert {"version", "schema", "one writer", "locks' redis: eviction", "broker: eviction", "lock ttl"} <= names
    assert "ok    version: MariaDB" in ops("check").out


@pytest.mark.parametrize(
    ("variable", "bad", "good", "found"),
    [
        ("max_allowed_packet", 1048576, 67108864, {"max_allowed_packet": "fail"}),
        ("innodb_flush_log_at_trx_commit", 2, 1, {"commits": "warn"}),
        ("wait_timeout", 60, 28800, {"wait_timeout": "warn"}),
        ("read_only", 1, 0, {"primary": "fail"}),
    ],
)
def test_a_database_that_is_set_up_otherwise_is_found(
    ops: Ops, root: pymysql.cursors.Cursor, variable: str, bad: int, good: int, found: dict[str, str]
) -> None:
    """Each setting is read from the running server."""
    root.execute("SELECT @@GLOBAL." + variable)
    before = (root.fetchone() or [good])[0]
    root.execute(f"SET GLOBAL {variable} = {bad}")
    try:
        assert wrong(ops) == found
    finally:
        root.execute(f"SET GLOBAL {variable} = {before}")


def test_a_table_of_another_engine_is_found(ops: Ops) -> None:
    """What is written there would not be rolled back."""
    execute("CREATE TABLE old_orders (n INT) ENGINE=MyISAM")
    assert wrong(ops) == {"innodb": "warn"}


def test_a_schema_of_another_revision_is_found(ops: Ops) -> None:
    """The code and the tables must be of one age."""
    execute("UPDATE holdfast_schema SET version_num = 'other'")
    try:
        assert wrong(ops) == {"schema": "fail"}
        assert ops("check").code == 1
    finally:
        from runstate.migrate import newest_revision

        execute("UPDATE holdfast_schema SET version_num = :v", v=newest_revision())


def test_a_redis_that_would_drop_locks_is_found(ops: Ops, redis_url: str) -> None:
    """maxmemory-policy other than noeviction fails, for the locks and for the broker."""
    client = redis.Redis.from_url(redis_url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert wrong(ops) == {"locks' redis: eviction": "fail", "broker: eviction": "fail"}
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()


def test_servers_that_are_away_are_failures_not_crashes(ops: Ops, servers: Servers) -> None:
    """Each server that cannot be asked is one failed check; the settings are judged all the same."""
    servers.valkey.kill()
    servers.mariadb.kill()
    try:
        checked = ops("check", "--json")
    finally:
        servers.mariadb.start()
    failed = {check["name"] for check in checked.document["checks"] if check["level"] == "fail"}
    assert failed == {"database", "locks' redis", "broker"}
    assert checked.code == 1
