"""Talking to the Supervisor of a stack, over its unix socket."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, cast

from supervisor.xmlrpc import Faults, SupervisorTransport

from stack.errors import StackError
from stack.layout import PROJECT
from stack.plan import Plan
from stack.server_process import dying_with_parent


@dataclass(frozen=True, slots=True)
class Process:
    """A process of Supervisor's: ``name`` as ``group:process``, ``state`` as Supervisor writes it, ``pid`` or 0."""

    name: str
    group: str
    state: str
    pid: int
    why: str

    @property
    def up(self) -> bool:
        """Running, and for long enough not to count as a false start."""
        return self.state == "RUNNING"

    @property
    def down(self) -> bool:
        """Stopped, for whatever reason, and not about to come back."""
        return self.state in ("STOPPED", "EXITED", "FATAL")


class Supervisor:
    """The Supervisor of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def launch(self) -> None:
        """Start supervisord in the background; raises `StackError` with what it said if it does not start."""
        done = subprocess.run(self._command(), **self._surroundings(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"supervisord did not start:\n{done.stdout}{done.stderr}")
        self.wait(lambda: self.alive, 15, "supervisord to answer")

    def launch_as_child(self) -> subprocess.Popen[bytes]:
        """Start supervisord as a child that stops everything and leaves when this process dies, however it dies."""
        child = subprocess.Popen(
            [*self._command(), "--nodaemon"],
            **self._surroundings(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 - the only way to ask for the signal before exec
        )
        self.wait(lambda: self.alive, 15, "supervisord to answer")
        return child

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "supervisor.supervisord", "-c", str(PROJECT / "supervisord.conf")]

    def _surroundings(self) -> dict[str, Any]:
        for name in ("log", "supervisor", "flower", "beat", "imports"):
            (self.plan.var / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        return {"cwd": PROJECT, "env": self.plan.environment(), "stdin": subprocess.DEVNULL}

    @property
    def state(self) -> str:
        """``RUNNING``, ``SHUTDOWN`` and so on, as the Supervisor on the socket says; empty if none answers."""
        try:
            return str(self._rpc.getState()["statename"])
        except (OSError, HTTPException, xmlrpc.client.Error):
            return ""

    @property
    def alive(self) -> bool:
        """True if a Supervisor answers and is not about to leave."""
        return self.state in ("RUNNING", "RESTARTING")

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._rpc.getPID())

    def processes(self) -> list[Process]:
        """Every process it keeps."""
        return [
            Process(
                name=f"{info['group']}:{info['name']}",
                group=info["group"],
                state=info["statename"],
                pid=int(info["pid"]),
                why=info["spawnerr"] or info["description"],
            )
            for info in cast(list[dict[str, Any]], self._rpc.getAllProcessInfo())
        ]

    def start(self, names: Iterable[str]) -> None:
        """Have the processes started, without waiting."""
        for name in names:
            with _ignoring(Faults.ALREADY_STARTED):
                self._rpc.startProcess(name, False)

    def stop(self, names: Iterable[str]) -> None:
        """Send the processes their stop signal, without waiting."""
        for name in names:
            with _ignoring(Faults.NOT_RUNNING):
                self._rpc.stopProcess(name, False)

    def shutdown(self) -> None:
        """Have it stop what still runs, last started first, and leave."""
        self._rpc.shutdown()

    def wait(self, reached: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Poll until ``reached``; raises `StackError` that names ``what`` and every process that is not up."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            if time.monotonic() > deadline:
                lines = [f"  {p.name} {p.state} {p.why}" for p in self.processes() if not p.up] if self.alive else []
                raise StackError(
                    "\n".join([f"waited {timeout_s:.0f} s for {what}; see {self.plan.var / 'log'}", *lines])
                )
            time.sleep(0.05)

    @property
    def _rpc(self) -> Any:
        # A proxy keeps one connection, which breaks when Supervisor restarts: a fresh one each time.
        transport = SupervisorTransport(None, None, f"unix://{self.plan.supervisor_socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


@contextlib.contextmanager
def _ignoring(fault: int) -> Iterator[None]:
    try:
        yield
    except xmlrpc.client.Fault as error:
        if error.faultCode != fault:
            raise
