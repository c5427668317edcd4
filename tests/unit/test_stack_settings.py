"""What the stack makes of the environment."""

from __future__ import annotations

import os
import runpy
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack.endpoints import Endpoints, free_port, port_is_free
from stack.envfile import read_env, write_env
from stack.errors import StackError
from stack.layout import PROJECT, socket_path
from stack.plan import make_plan
from stack.pools import pool_numbers
from stack.redact import redact


def test_the_same_stack_keeps_its_ports_and_passwords(tmp_path: Path) -> None:
    """A second plan for the same directory has the same addresses; one for another directory has none in common."""
    mine, again, other = (make_plan({"HOLDFAST_VAR": str(tmp_path / name)}) for name in ("a", "a", "b"))
    assert mine.settings == again.settings
    assert not set(mine.endpoints.environment().values()) & set(other.endpoints.environment().values())
    assert mine.settings["FLOWER_PASSWORD"] != other.settings["FLOWER_PASSWORD"]


@pytest.mark.parametrize(
    ("given", "valkey", "mariadb"),
    [
        ({}, True, True),
        ({"DATABASE_URL": "mysql+pymysql://u:p@db/x"}, True, False),
        ({"REDIS_URL": "redis://r/0"}, True, True),
        ({"REDIS_URL": "redis://r/0", "CELERY_BROKER_URL": "redis://r/1"}, False, True),
        ({"DATABASE_URL": "mysql://d/x", "REDIS_URL": "redis://r/0", "CELERY_BROKER_URL": "amqp://b"}, False, False),
    ],
)
def test_addresses_in_the_environment_mean_servers_of_the_users_own(
    tmp_path: Path, given: dict[str, str], valkey: bool, mariadb: bool
) -> None:
    """A private server is planned only where an address is missing; an address that is given is used as it is."""
    plan = make_plan({"HOLDFAST_VAR": str(tmp_path), **given})
    assert (plan.private_valkey, plan.private_mariadb) == (valkey, mariadb)
    assert given.items() <= plan.settings.items()


def test_a_path_that_supervisor_would_misread_is_refused(tmp_path: Path) -> None:
    """A percent sign in the directory is named before anything is written, instead of an error out of Supervisor."""
    with pytest.raises(StackError, match="without %"):
        make_plan({"HOLDFAST_VAR": str(tmp_path / "100%")})
    assert list(tmp_path.iterdir()) == []


def test_stack_env_is_readable_by_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    """stack.env has mode 0600 even where a looser one was there, and holds exactly what was written."""
    path = tmp_path / "stack.env"
    path.write_text("DATABASE_URL=old\n", encoding="utf-8")
    path.chmod(0o644)
    values = {"DATABASE_URL": "mysql+pymysql://u:p=#&@h:1/d?charset=utf8mb4&x=1", "EMPTY": ""}
    write_env(path, values)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_env(path) == values
    with pytest.raises(ValueError, match="line break"):
        write_env(path, {"A": "1\nB=2"})


def test_the_tests_never_see_servers_of_the_users_own(tmp_path: Path) -> None:
    """Whatever the environment and var/stack.env say, the settings under test are those of the session's private servers."""
    theirs = {
        "DATABASE_URL": "mysql+pymysql://u:p@theirs/db",
        "REDIS_URL": "redis://theirs/0",
        "IMPORT_ROOTS": "/theirs",
    }
    write_env(tmp_path / "stack.env", {**theirs, "CELERY_BROKER_URL": "redis://theirs/1", "HOLDFAST_KINDS": "theirs:K"})
    code = "import tests.conftest; from tasks.settings import load_settings as s; print([getattr(s(), n) for n in s().__slots__])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={
            **os.environ,
            **theirs,
            "HOLDFAST_VAR": str(tmp_path),
            "HOLDFAST_KINDS": "theirs:K",
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mysql+pymysql://holdfast" in done.stdout
    assert "theirs" not in done.stdout


@pytest.mark.parametrize("text", ["-1", "two", "1.5", "0x2", " 3", "²"])
def test_a_number_that_is_none_is_refused_by_name(text: str) -> None:
    """The message names the variable and says what to give."""
    with pytest.raises(StackError, match=r"HOLDFAST_IMPORTS_CONCURRENCY.*whole number"):
        pool_numbers({"HOLDFAST_IMPORTS_CONCURRENCY": text})


def test_a_pool_may_be_left_out_but_not_be_childless() -> None:
    """0 processes means no such pool on this host; a pool of 0 children would only look alive."""
    assert pool_numbers({"HOLDFAST_EMAIL_PROCESSES": "0"})["HOLDFAST_EMAIL_PROCESSES"] == "0"
    with pytest.raises(StackError, match="at least 1"):
        pool_numbers({"HOLDFAST_EMAIL_CONCURRENCY": "0"})


def test_a_stop_waits_longer_than_the_longest_job() -> None:
    """Supervisor's patience is above the time that a kind of job may take by default."""
    from tasks.kinds import JobKind

    kind = JobKind(name="any", queue="any", plan=lambda args: (), perform=lambda work: None)
    assert int(pool_numbers({})["HOLDFAST_STOP_WAIT_S"]) > kind.timeout_s


def test_supervisord_conf_asks_for_no_variable_that_is_never_set() -> None:
    """Every %(ENV_…)s of supervisord.conf is one that `make up` sets: Supervisor has no defaults."""
    import re

    text = (PROJECT / "supervisord.conf").read_text(encoding="utf-8")
    plan = make_plan(dict(os.environ))
    assert set(re.findall(r"%\(ENV_(\w+)\)s", text)) <= set(plan.environment())


def test_a_socket_in_a_deep_directory_moves_to_a_short_private_one(tmp_path: Path) -> None:
    """The kernel takes 108 bytes: deeper, the socket lies in a directory under /tmp that is this user's alone."""
    deep = tmp_path / ("d" * 100)
    short = socket_path(deep, "x.sock")
    try:
        assert socket_path(tmp_path, "x.sock") == tmp_path / "x.sock"
        assert len(os.fsencode(short)) <= 100
        assert short == socket_path(deep, "x.sock") != socket_path(tmp_path / ("e" * 100), "x.sock")
        assert stat.S_IMODE(short.parent.stat().st_mode) == 0o700
        short.parent.chmod(0o777)
        with pytest.raises(PermissionError, match="not a private directory"):
            socket_path(deep, "x.sock")
    finally:
        short.parent.rmdir()
        socket_path(tmp_path / ("e" * 100), "x.sock").parent.rmdir()


def test_a_port_that_someone_listens_on_is_not_free() -> None:
    """`free_port` never hands out a port that is taken."""
    import socket

    with socket.create_server(("127.0.0.1", free_port())) as taken:
        assert not port_is_free(taken.getsockname()[1])


def test_generated_passwords_need_no_quoting() -> None:
    """In an address, a configuration file or SQL they stand for themselves."""
    for _ in range(50):
        endpoints = Endpoints.generate()
        for password in (endpoints.valkey_password, endpoints.mariadb_password, endpoints.mariadb_root_password):
            assert password.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mysql+pymysql://holdfast:s3cret@127.0.0.1:3306/x", "mysql+pymysql://***@127.0.0.1:3306/x"),
        ("redis://:s3cret@h/0", "redis://***@h/0"),
        ("{'password': 's3cret', 'target': 'flights'}", "{'password': ***, 'target': 'flights'}"),
        ('{"api_key": "s3\\"cret", "n": 1}', '{"api_key": ***, "n": 1}'),
        ("smtp_password=s3cret, host='h'", "smtp_password=***, host='h'"),
        ("access-token: s3cret)", "access-token: ***)"),
        ("Authorization: Bearer s3cret.s3cret", "Authorization: ***"),
        ("header Bearer s3crets3cret", "header Bearer ***"),
        ("{'token': 's3cret that was cut", "{'token': ***"),
        ("flights.csv → flights, 12 of 40", "flights.csv → flights, 12 of 40"),
        ("http://host/path?page=2@x", "http://host/path?page=2@x"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text: str, shown: str) -> None:
    """Values of secret-looking names, logins in addresses and bearer tokens; the rest stays readable."""
    assert redact(text) == shown
    assert "s3cret" not in redact(text)


def test_flower_settings_are_closed_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback, basic auth with the stack's password, arguments redacted; and no start without a password."""
    monkeypatch.setenv("HOLDFAST_VAR", str(tmp_path))
    monkeypatch.delenv("HOLDFAST_STACK", raising=False)
    with pytest.raises(SystemExit, match="no password"):
        runpy.run_path(str(PROJECT / "flowerconfig.py"))
    plan = make_plan({"HOLDFAST_VAR": str(tmp_path)})
    write_env(plan.env_file, plan.settings)
    found = runpy.run_path(str(PROJECT / "flowerconfig.py"))
    assert found["address"] == "127.0.0.1"
    assert found["basic_auth"] == [f"holdfast:{plan.settings['FLOWER_PASSWORD']}"]
    assert f":{found['port']}" in plan.settings["FLOWER_URL"]

    class Task:
        args = "('s3cret',)"
        kwargs = "{'password': 's3cret'}"
        result = None

    assert found["format_task"](Task()).kwargs == "{'password': ***}"
