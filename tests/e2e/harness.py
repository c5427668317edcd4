"""A whole stack under a real Supervisor, on the session's private servers, that a test may kill piece by piece."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pymysql
import redis

from stack.envfile import write_env
from stack.layout import PROJECT
from stack.leftovers import end_leftovers, stack_processes
from stack.nodes import answering_nodes, worker_nodes
from stack.plan import Plan, make_plan
from stack.private import Servers
from stack.supervised import write_server_programs
from stack.supervisor import Process, Supervisor
from tests.cleaning import empty_database, flush_valkey

SMALL = {
    "HOLDFAST_CONTROL_CONCURRENCY": "1",
    "HOLDFAST_IMPORTS_PROCESSES": "2",
    "HOLDFAST_IMPORTS_CONCURRENCY": "1",
    "HOLDFAST_EMAIL_PROCESSES": "0",
    "HOLDFAST_SYNC_PROCESSES": "0",
    "HOLDFAST_IMAGES_PROCESSES": "0",
    "HOLDFAST_BEATS": "0",
    "HOLDFAST_FLOWERS": "0",
    "HOLDFAST_STOP_WAIT_S": "30",
}
"""What the stack of a test consists of, unless its ``stack`` marker says otherwise: one control worker, two import workers
of one child each, two dispatchers."""


class Stack:
    """Programs go by their group: the pools' queues, ``dispatcher``, ``beat``, ``flower``."""

    def __init__(self, servers: Servers, schema: frozenset[str], var: Path) -> None:
        self.servers = servers
        self.var = var
        self._schema = schema
        self._overrides: dict[str, str] | None = None
        self._plan: Plan | None = None
        self._child: subprocess.Popen[bytes] | None = None

    # -- the stack as a whole -------------------------------------------------------------------------------------------

    def begin(self, overrides: Mapping[str, str]) -> None:
        """Ready for a test: servers up and empty, every program of ``overrides`` consuming, nothing left of the last test."""
        self.servers.valkey.start()
        self.servers.mariadb.start()
        wanted = {**SMALL, **overrides}
        if wanted != self._overrides:
            self.end()
            self._empty(everything=True)
            self._launch(wanted)
        elif self._is_quiet():
            self._empty(everything=False)
        else:
            self._kill_all()
            self._empty(everything=True)
        self.start_all()

    def end(self) -> None:
        """Kill everything but the servers."""
        if self._plan is None:
            return
        if self.supervisor.alive:
            self._kill_all()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        end_leftovers(self.var, patience_s=0)
        self._plan, self._overrides = None, None

    def start_all(self, timeout_s: float = 60.0) -> None:
        """Have every program run, every worker consume."""
        supervisor = self.supervisor
        supervisor.start(p.name for p in supervisor.processes() if p.down)
        supervisor.wait(lambda: all(p.up for p in supervisor.processes()), timeout_s, "every program to run")
        nodes = worker_nodes(self.plan.numbers)
        supervisor.wait(lambda: answering_nodes(self.plan, nodes) >= nodes, timeout_s, "every worker to answer")

    @property
    def plan(self) -> Plan:
        """The plan it runs by."""
        assert self._plan is not None, "the stack is not up"
        return self._plan

    @property
    def supervisor(self) -> Supervisor:
        """Its Supervisor."""
        return Supervisor(self.plan)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every program."""
        return self.plan.environment()

    def run(self, *arguments: str, timeout_s: float = 60.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``python ARGUMENTS`` in the project with the stack's environment, for example ``run("-m", "ops", "health")``."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=check,
        )

    def run_in_background(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """``python ARGUMENTS`` with the stack's environment and more, not waited for; its output goes to the stack's logs."""
        with open(self.var / "log" / f"background-{time.monotonic_ns()}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=PROJECT,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    # -- its programs ---------------------------------------------------------------------------------------------------

    def processes(self, group: str | None = None) -> list[Process]:
        """What Supervisor says of one group, or of all."""
        return [p for p in self.supervisor.processes() if group in (None, p.group)]

    def pids(self, group: str) -> list[int]:
        """The main process of each worker, dispatcher and so on."""
        return [p.pid for p in self.processes(group) if p.pid]

    def children(self, group: str) -> list[int]:
        """The children of the group's main processes: where jobs run."""
        return [child for pid in self.pids(group) for child in _children(pid)]

    def kill_children(self, group: str) -> list[int]:
        """kill -9 of every child; the main processes replace them.  Returns who was killed."""
        return _kill(self.children(group))

    def kill_mains(self, group: str) -> list[int]:
        """kill -9 of the main processes alone; Supervisor starts new ones."""
        return _kill(self.pids(group))

    def kill(self, group: str) -> list[int]:
        """kill -9 of main processes and children, as a host that loses power; Supervisor starts new ones."""
        children = self.children(group)
        return _kill([*self.pids(group), *children])

    def stop(self, group: str, timeout_s: float = 60.0) -> None:
        """Ask for a stop, as `make down` does (running jobs finish), and wait."""
        self.supervisor.stop(p.name for p in self.processes(group) if not p.down)
        self.supervisor.wait(lambda: all(p.down for p in self.processes(group)), timeout_s, f"{group} to stop")

    def start(self, group: str, timeout_s: float = 60.0) -> None:
        """Start what is stopped, and wait until it runs."""
        self.supervisor.start(p.name for p in self.processes(group) if p.down)
        self.supervisor.wait(lambda: all(p.up for p in self.processes(group)), timeout_s, f"{group} to run")

    def freeze(self, group: str) -> None:
        """SIGSTOP to main processes and children."""
        _signal([*self.pids(group), *self.children(group)], signal.SIGSTOP)

    def thaw(self, group: str) -> None:
        """SIGCONT."""
        _signal([*self.pids(group), *self.children(group)], signal.SIGCONT)

    def tails(self, lines: int = 40) -> str:
        """The end of every log."""
        parts = []
        for log in sorted((self.var / "log").glob("*.log")):
            text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"---- {log.name}", *text]))
        return "\n".join(parts)

    # -- between two tests ----------------------------------------------------------------------------------------------

    def _launch(self, wanted: dict[str, str]) -> None:
        for log in (self.var / "log").glob("*.log"):
            log.unlink()
        own = {"HOLDFAST_VAR": str(self.var), **self.servers.environment()}
        self._plan = make_plan({**os.environ, **wanted, **own})
        self._overrides = wanted
        (self.var / "supervisor").mkdir(parents=True, exist_ok=True)
        write_env(self.plan.env_file, self.plan.settings)
        write_server_programs(self.plan)
        self._child = self.supervisor.launch_as_child()

    def _kill_all(self) -> None:
        supervisor = self.supervisor
        supervisor.stop(p.name for p in supervisor.processes() if not p.down)
        everyone = [
            pid for group in {p.group for p in self.processes()} for pid in (*self.pids(group), *self.children(group))
        ]
        _kill(everyone)
        supervisor.wait(lambda: all(p.down for p in supervisor.processes()), 30, "every program to be gone")
        end_leftovers_but(self.var, supervisor.pid)

    def _is_quiet(self) -> bool:
        return (
            self.supervisor.alive
            and all(p.up for p in self.processes())
            and not self._unfinished_runs()
            and not self._waiting_messages()
        )

    def _unfinished_runs(self) -> int:
        connection = pymysql.connect(
            host="127.0.0.1",
            port=self.servers.endpoints.mariadb_port,
            user="root",
            password=self.servers.endpoints.mariadb_root_password,
            database="holdfast",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM runs WHERE finished_at IS NULL")
                row = cursor.fetchone()
                return int(row[0]) if row else 0
        finally:
            connection.close()

    def _waiting_messages(self) -> int:
        client = redis.Redis.from_url(self.servers.broker_url)
        try:
            return sum(int(client.llen(key)) for key in client.scan_iter(_type="list"))
        finally:
            client.close()

    def _empty(self, *, everything: bool) -> None:
        """Workers that live on keep their rows in ``nodes``: without them they would count as lost."""
        flush_valkey(self.servers)
        empty_database(self.servers, self._schema, keep=frozenset() if everything else frozenset({"nodes"}))


def wait_until(reached: Callable[[], object], timeout_s: float = 30.0, what: str = "") -> None:
    """Poll until ``reached()`` is true; fails the test, naming ``what``, after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what or reached}"
        time.sleep(0.02)


def end_leftovers_but(var: Path, supervisor_pid: int) -> None:
    """Kill what belongs to the stack and was not in Supervisor's list: children whose main process was killed."""
    _kill(pid for pid in stack_processes(var) if pid != supervisor_pid)


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything but ends with the last parenthesis: state, parent.
            fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def _kill(pids: Iterable[int]) -> list[int]:
    return _signal(pids, signal.SIGKILL)


def _signal(pids: Iterable[int], number: signal.Signals) -> list[int]:
    found = list(pids)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return found
