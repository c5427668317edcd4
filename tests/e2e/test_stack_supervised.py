"""The stack as `make up` and `make down` know it."""

from __future__ import annotations

import base64
import os
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pymysql
import pytest
import redis

from stack.envfile import read_env
from stack.layout import PROJECT
from stack.leftovers import end_leftovers, stack_processes
from stack.plan import make_plan
from stack.private import Servers
from stack.supervisor import Supervisor
from tests.e2e.harness import Stack, wait_until

TINY = {
    "HOLDFAST_CONTROL_CONCURRENCY": "1",
    "HOLDFAST_IMPORTS_PROCESSES": "0",
    "HOLDFAST_EMAIL_PROCESSES": "0",
    "HOLDFAST_SYNC_PROCESSES": "0",
    "HOLDFAST_IMAGES_PROCESSES": "0",
    "HOLDFAST_DISPATCHERS": "1",
    "HOLDFAST_BEATS": "0",
    "HOLDFAST_FLOWERS": "0",
}
OWN = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")


class Commands:
    """`python -m stack …` on a ``var`` directory of its own."""

    def __init__(self, var: Path) -> None:
        self.var = var
        bare = {name: value for name, value in os.environ.items() if name not in OWN}
        self.environment = {**bare, **TINY, "HOLDFAST_VAR": str(var)}

    def __call__(self, command: str, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stack", command],
            cwd=PROJECT,
            env={**self.environment, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def supervisor(self) -> Supervisor:
        return Supervisor(make_plan(self.environment))

    def pids(self) -> dict[str, int]:
        return {process.name: process.pid for process in self.supervisor().processes()}


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """The commands of a stack that nobody else uses; ended afterwards."""
    # Far deeper than a unix socket's path may be, and with a blank in it.
    var = tmp_path / ("deep-" * 20) / "of mine"
    yield Commands(var)
    end_leftovers(var, patience_s=0)


def _rows(settings: Mapping[str, str], statement: str) -> list[tuple[int, ...]]:
    plan = settings["DATABASE_URL"].removeprefix("mysql+pymysql://").partition("?")[0]
    login, _, place = plan.partition("@")
    user, _, password = login.partition(":")
    address, _, database = place.partition("/")
    host, _, port = address.partition(":")
    connection = pymysql.connect(
        host=host, port=int(port), user=user, password=password, database=database, autocommit=True
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()


def test_up_again_changes_nothing_and_down_keeps_the_data(commands: Commands) -> None:
    """`make up` twice starts nothing twice; it recovers from a killed Supervisor; `make down` leaves nothing but the data."""
    first = commands("up")
    assert first.returncode == 0, first.stderr
    settings = read_env(commands.var / "stack.env")
    before = commands.pids()
    assert commands("up").returncode == 0
    assert commands.pids() == before
    assert commands("status").returncode == 0

    _rows(settings, "CREATE TABLE kept (n INT)")
    _rows(settings, "INSERT INTO kept VALUES (7)")
    listing = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout
    assert str(commands.var) in listing
    secrets = [settings["FLOWER_PASSWORD"], settings["REDIS_URL"].split(":")[2].split("@")[0]]
    secrets.append(settings["DATABASE_URL"].split(":")[2].split("@")[0])
    assert not [secret for secret in secrets if secret in listing]
    for name in ("stack.env", "private.json", "mariadb/my.cnf", "mariadb/accounts.sql", "valkey/valkey.conf"):
        assert stat.S_IMODE((commands.var / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(commands.var.stat().st_mode) == 0o700
    assert not [secret for secret in secrets for log in (commands.var / "log").iterdir() if secret in log.read_text()]

    os.kill(commands.supervisor().pid, signal.SIGKILL)
    again = commands("up")
    assert again.returncode == 0, again.stderr
    assert not set(commands.pids().values()) & set(before.values())
    assert not [pid for pid in before.values() if Path(f"/proc/{pid}").exists()]
    assert read_env(commands.var / "stack.env") == settings

    assert commands("down").returncode == 0
    assert stack_processes(commands.var) == []
    assert commands("status").returncode == 3
    assert commands("down").returncode == 0
    assert commands("up").returncode == 0
    assert _rows(read_env(commands.var / "stack.env"), "SELECT n FROM kept") == [(7,)]


def test_servers_of_the_users_own_are_neither_started_nor_emptied(
    commands: Commands, servers: Servers, database_url: str, redis_url: str
) -> None:
    """With addresses in the environment nothing private is started, and what they hold is still there after up and down."""
    own = servers.environment()
    client = redis.Redis.from_url(redis_url)
    client.set("theirs", "1")
    _rows({"DATABASE_URL": database_url}, "CREATE TABLE theirs (n INT)")
    _rows({"DATABASE_URL": database_url}, "INSERT INTO theirs VALUES (1)")

    done = commands("up", own)
    assert done.returncode == 0, done.stderr
    assert set(commands.pids()) == {"control:control_00", "dispatcher:dispatcher_00"}
    assert read_env(commands.var / "stack.env")["DATABASE_URL"] == database_url
    other = commands("up")
    assert other.returncode == 1
    assert "make down" in other.stderr
    assert commands("down", own).returncode == 0

    assert client.get("theirs") == b"1"
    client.close()
    assert _rows({"DATABASE_URL": database_url}, "SELECT n FROM theirs") == [(1,)]
    assert not (commands.var / "mariadb").exists()
    assert not (commands.var / "valkey").exists()


@pytest.mark.stack(HOLDFAST_KINDS="tests.e2e.probe_kind:PROBE", HOLDFAST_IMPORTS_PROCESSES="1")
def test_a_stop_lets_the_running_job_finish(stack: Stack, tmp_path: Path) -> None:
    """Supervisor's stop of a pool waits for the job that runs; it is not cut off and not done a second time."""
    code = "import sys; from tasks import start_probe; print(start_probe.delay(directory=sys.argv[1]).run_id)"
    run_id = stack.run("-c", code, str(tmp_path)).stdout.strip()
    wait_until((tmp_path / "began-0-1").exists, 30, "the job to begin")
    worker, children = stack.pids("imports"), stack.children("imports")
    stack.supervisor.stop(p.name for p in stack.processes("imports"))
    wait_until(lambda: {p.state for p in stack.processes("imports")} == {"STOPPING"}, 10, "the stop to be sent")
    wait_until(lambda: "Warm shutdown" in stack.tails(), 10, "the worker to hear it")
    assert stack.pids("imports") == worker
    assert stack.children("imports") == children

    (tmp_path / "go").touch()
    wait_until(lambda: all(p.down for p in stack.processes("imports")), 30, "the worker to leave")
    assert (tmp_path / "ended-0").exists()
    found = _rows(
        stack.plan.settings,
        f"SELECT claims, crashes, state = 'done' FROM jobs WHERE run_id = '{run_id}' AND job_no = 1",
    )
    assert found == [(1, 0, 1)]


@pytest.mark.stack(HOLDFAST_FLOWERS="1")
def test_flower_asks_for_its_password_and_listens_on_loopback_alone(stack: Stack) -> None:
    """Without the generated password Flower shows nothing; with it, the workers."""
    url = stack.plan.settings["FLOWER_URL"]
    wait_until(lambda: _status(f"{url}/healthcheck") == 200, 30, "Flower")
    assert _status(f"{url}/") == 401
    assert _status(f"{url}/", "holdfast", "wrong") == 401
    assert _status(f"{url}/", "holdfast", stack.plan.settings["FLOWER_PASSWORD"]) == 200
    port = int(url.rpartition(":")[2])
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert [address for address in listening if int(address.split(":")[1], 16) == port] == [f"0100007F:{port:04X}"]


def _status(url: str, user: str = "", password: str = "") -> int:
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
