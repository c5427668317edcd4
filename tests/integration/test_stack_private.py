"""The private servers that tests run on."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import create_engine, text

from stack.layout import PROJECT
from stack.private import Servers


def test_the_database_speaks_utf8mb4_and_keeps_commits(database_url: str) -> None:
    """The private MariaDB stores any character and flushes each commit."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT @@character_set_database, @@innodb_flush_log_at_trx_commit, @@log_bin, @@innodb_autoinc_lock_mode"
            )
        ).one()
    engine.dispose()
    assert tuple(found) == ("utf8mb4", 1, 0, 2)


def test_a_database_killed_and_restarted_keeps_what_was_committed(servers: Servers, database_url: str) -> None:
    """kill -9 of MariaDB loses nothing that was committed."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (n INT)"))
        connection.execute(text("INSERT INTO kept VALUES (7)"))
    engine.dispose()
    servers.mariadb.restart()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT n FROM kept")).scalar() == 7
    engine.dispose()


def test_a_frozen_valkey_does_not_answer_until_it_is_thawed(servers: Servers, redis_url: str) -> None:
    """A frozen server accepts connections and stays silent, as a hung machine does."""
    client = redis.Redis.from_url(redis_url, socket_timeout=0.3, retry=None)
    servers.valkey.freeze()
    try:
        with pytest.raises(redis.TimeoutError):
            client.ping()
    finally:
        servers.valkey.thaw()
    assert client.ping()
    client.close()


def test_wrong_passwords_are_refused(servers: Servers) -> None:
    """Neither server lets anyone in without the generated password, root included."""
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=servers.endpoints.valkey_port, retry=Retry(NoBackoff(), 0)).ping()
    for user in ("root", "holdfast", "nobody"):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(host="127.0.0.1", port=servers.endpoints.mariadb_port, user=user, password="")


def test_no_password_shows_in_the_process_list(servers: Servers) -> None:
    """Passwords are in files of mode 0600, not in any command line."""
    secrets = (
        servers.endpoints.valkey_password,
        servers.endpoints.mariadb_password,
        servers.endpoints.mariadb_root_password,
    )
    listing = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout
    assert str(servers.directory) in listing
    assert not any(secret in listing for secret in secrets)
    for file in servers.directory.rglob("*"):
        if file.is_file() and file.suffix in {".cnf", ".conf", ".sql"}:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the process that started them leaves no server behind."""
    code = (
        "import sys, time; from pathlib import Path; from stack.private import private_servers\n"
        "with private_servers(Path(sys.argv[1]), migrate=False) as s:\n"
        "    print(s.valkey.pid, s.mariadb.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A zombie that nobody reaps (no init in a container) is dead.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("round_no", [1, 2])
def test_each_test_finds_empty_servers(database_url: str, redis_url: str, round_no: int) -> None:
    """What a test leaves in a table or under a key is gone for the next one."""
    engine = create_engine(database_url)
    client = redis.Redis.from_url(redis_url)
    with engine.begin() as connection:
        assert connection.execute(text("SHOW TABLES LIKE 'left_behind'")).all() == []
        connection.execute(text("CREATE TABLE left_behind (n INT)"))
    assert client.set("left", round_no, nx=True)
    client.close()
    engine.dispose()
