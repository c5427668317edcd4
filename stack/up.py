"""`make up`, `make down`, `make status`: the steps, in their order."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from stack.endpoints import HOST
from stack.envfile import read_env, write_env
from stack.errors import StackError
from stack.layout import PROJECT, var_dir
from stack.leftovers import end_leftovers
from stack.mariadb import ping_mariadb
from stack.nodes import answering_nodes, worker_nodes
from stack.plan import Plan, choose_free_ports, make_plan
from stack.private import migrate_schema
from stack.supervised import SERVER_GROUPS, write_server_programs
from stack.supervisor import Supervisor
from stack.valkey import ping_valkey

SERVERS_UP_S = 60.0
PROGRAMS_UP_S = 90.0


def up() -> Plan:
    """Bring the stack up; what runs already stays as it is.  Raises `StackError`."""
    with _one_at_a_time(var_dir()):
        plan = make_plan()
        supervisor = Supervisor(plan)
        supervisor.wait(lambda: supervisor.state != "SHUTDOWN", 90, "a Supervisor that is about to leave")
        if supervisor.alive:
            _refuse_other_settings(plan)
        else:
            plan = _launch(plan)
            supervisor = Supervisor(plan)
        _servers(plan, supervisor)
        migrate_schema(plan.settings)
        _programs(plan, supervisor)
        return plan


def down() -> bool:
    """Stop everything, let running jobs finish first; the data stays.  False if nothing ran."""
    var = var_dir()
    if not (var / "private.json").exists():
        return False
    with _one_at_a_time(var):
        supervisor = Supervisor(make_plan())
        ran = supervisor.alive
        if ran:
            _stop(supervisor)
        return bool(end_leftovers(var)) or ran


def status() -> bool:
    """Print every process with its state; True if all of them run."""
    supervisor = Supervisor(make_plan()) if (var_dir() / "private.json").exists() else None
    if supervisor is None or not supervisor.alive:
        print("the stack is down; `make up` starts it")
        return False
    processes = supervisor.processes()
    for process in processes:
        print(f"{process.name:32} {process.state:10} {process.why}")
    print(f"Flower: {read_env(supervisor.plan.env_file).get('FLOWER_URL')}")
    return all(process.up for process in processes)


def restart(groups: Sequence[str]) -> list[str]:
    """Restart the programs of these groups (all but the servers, if none is named), one process after another.

    Each lets its running jobs finish; the others go on meanwhile.  Returns the processes' names.  Raises `StackError` if the
    stack is down or a group is not there.
    """
    with _one_at_a_time(var_dir()):
        supervisor = Supervisor(make_plan()) if (var_dir() / "private.json").exists() else None
        if supervisor is None or not supervisor.alive:
            raise StackError("the stack is down; `make up` starts it")
        programs = [p for p in supervisor.processes() if p.group not in SERVER_GROUPS]
        unknown = sorted(set(groups) - {p.group for p in programs})
        if unknown:
            known = ", ".join(sorted({p.group for p in programs}))
            raise StackError(f"there is no {', '.join(unknown)} to restart; there are: {known}")
        names = [p.name for p in programs if not groups or p.group in groups]
        for name in names:
            supervisor.stop([name])
            supervisor.wait(
                lambda name=name: all(p.down for p in supervisor.processes() if p.name == name),  # type: ignore[misc]
                float(supervisor.plan.numbers["HOLDFAST_STOP_WAIT_S"]) + 10,
                f"{name} to finish its jobs",
            )
            supervisor.start([name])
            supervisor.wait(
                lambda name=name: all(p.up for p in supervisor.processes() if p.name == name),  # type: ignore[misc]
                PROGRAMS_UP_S,
                f"{name} to run",
            )
            print(f"restarted {name}")
        return names


def _check_configuration(plan: Plan) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tasks.configuration"],
        cwd=PROJECT,
        env={**os.environ, **plan.settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"the configuration cannot be loaded, nothing was started: {done.stderr.strip()[-2000:]}")


def _launch(plan: Plan) -> Plan:
    _check_configuration(plan)
    end_leftovers(plan.var)
    choose_free_ports(plan)
    plan = make_plan()
    # Before the programs start: they read it.
    write_env(plan.env_file, plan.settings)
    (plan.var / "supervisor").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_server_programs(plan)
    Supervisor(plan).launch()
    return plan


def _servers(plan: Plan, supervisor: Supervisor) -> None:
    supervisor.start(p.name for p in supervisor.processes() if p.group in SERVER_GROUPS and p.down)
    if plan.private_valkey:
        supervisor.wait(lambda: ping_valkey(plan.endpoints), SERVERS_UP_S, "the private Valkey to answer")
    if plan.private_mariadb:
        supervisor.wait(lambda: ping_mariadb(plan.endpoints), SERVERS_UP_S, "the private MariaDB to answer")


def _programs(plan: Plan, supervisor: Supervisor) -> None:
    supervisor.start(p.name for p in supervisor.processes() if p.down)
    supervisor.wait(lambda: all(p.up for p in supervisor.processes()), PROGRAMS_UP_S, "every program to run")
    nodes = worker_nodes(plan.numbers)
    supervisor.wait(lambda: answering_nodes(plan, nodes) >= nodes, PROGRAMS_UP_S, "every worker to answer a ping")
    if plan.numbers["HOLDFAST_FLOWERS"] != "0":
        supervisor.wait(lambda: _listens(plan.settings["FLOWER_URL"]), PROGRAMS_UP_S, "Flower to answer")


def _stop(supervisor: Supervisor) -> None:
    pid = supervisor.pid
    # All at once: Supervisor alone would stop one group after the other.  The servers go last.
    supervisor.stop(p.name for p in supervisor.processes() if p.group not in SERVER_GROUPS and not p.down)
    began, told = time.monotonic(), 0.0
    while busy := [p for p in supervisor.processes() if p.group not in SERVER_GROUPS and not p.down]:
        if time.monotonic() - began > told + 5:
            told = time.monotonic() - began
            print(
                f"  {told:.0f} s: waiting for {', '.join(p.name for p in busy)}; running jobs finish first",
                file=sys.stderr,
            )
        time.sleep(0.05)
    supervisor.shutdown()
    # Asking it each time also wakes it: left alone, it takes a second for every group, stopped ones included.
    supervisor.wait(lambda: not supervisor.state and not Path(f"/proc/{pid}").exists(), 90, "Supervisor to leave")


def _refuse_other_settings(plan: Plan) -> None:
    """A stack cannot move to other servers while it runs: half of its processes would stay on the old ones."""
    running = read_env(plan.env_file)
    other = sorted(name for name in plan.settings if running.get(name) != plan.settings[name])
    if other:
        raise StackError(
            f"the stack runs with another {', '.join(other)} than you ask for now: `make down` first, then `make up`"
        )


def _listens(url: str) -> bool:
    try:
        socket.create_connection((HOST, urlsplit(url).port or 80), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _one_at_a_time(var: Path) -> Iterator[None]:
    """Two `make up` at once would start two Supervisors on one data directory."""
    var.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(var / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
