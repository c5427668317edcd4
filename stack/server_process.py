"""One server as a child of this process, which a test may kill, freeze and start again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stack.errors import ServerFailed

_PR_SET_PDEATHSIG = 1


def dying_with_parent(number: signal.Signals) -> Callable[[], None]:
    """What a child calls between fork and exec to be sent ``number`` when its parent dies (prctl(2))."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return ask


class ServerProcess:
    """A server that dies with its parent.  Start it from a thread that lives on: prctl(2) means the parent *thread*."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, is_up: Callable[[], bool]
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._is_up = is_up
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; raises `ServerFailed` if the server was not started."""
        if self._child is None:
            raise ServerFailed(f"{self.name} is not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        """True while the process lives (a frozen one lives)."""
        return self._child is not None and self._child.poll() is None

    def launch(self) -> None:
        """Start the process without waiting until it answers."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGKILL),  # noqa: PLW1509 - the only way to ask for the signal before exec
            )

    def wait_up(self, timeout_s: float = 30.0) -> None:
        """Wait until the server answers; raises `ServerFailed` with the end of its log if it exits or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not self._is_up():
            if not self.running or time.monotonic() > deadline:
                end = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise ServerFailed(f"{self.name} did not come up; the end of {self.log}:\n{end}")
            time.sleep(0.02)

    def start(self) -> None:
        """Start the server, if it does not run, and wait until it answers."""
        self.launch()
        self.wait_up()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ask the server to shut down, and wait."""
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGCONT)
            self._child.terminate()
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ServerFailed(f"{self.name} did not stop within {timeout_s:.0f} s and was killed") from error

    def kill(self) -> None:
        """``kill -9``, as a crash of the server."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def restart(self) -> None:
        """Kill the server and start it on the same port and data."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as a hung machine."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)
