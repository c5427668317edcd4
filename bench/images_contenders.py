"""Who takes part in `bench.images_fit`: each makes two images at a time, and tells what it cost in CPU."""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from bench import images_tools
from bench.images_worker import BOX, QUALITY
from stack.debian import Program

PROJECT = Path(__file__).resolve().parent.parent
AT_ONCE = 2
Pair = tuple[Path, Path]
"""An original, and the JPEG to be made of it."""


class Contender(Protocol):
    """One way to make JPEGs, started before and stopped after the measuring."""

    name: str

    def run(self, pairs: Sequence[Pair]) -> None:
        """Make all of them, two at a time; return when all are there."""

    def cpu_s(self) -> float:
        """CPU that was used so far, by all processes of it that count."""

    def close(self) -> None:
        """Stop."""


class Lines:
    """Processes that take a line for each image; ``at_once`` images in each of them."""

    def __init__(self, name: str, commands: Sequence[Sequence[str]], *, at_once: int = 1, cwd: Path = PROJECT) -> None:
        self.name = name
        self._workers = [_LineWorker(command, cwd) for command in commands]
        self._slots: queue.SimpleQueue[_LineWorker] = queue.SimpleQueue()
        for worker in self._workers * at_once:
            self._slots.put(worker)
        self._threads = ThreadPoolExecutor(len(commands) * at_once)

    def run(self, pairs: Sequence[Pair]) -> None:
        list(self._threads.map(self._one, pairs))

    def cpu_s(self) -> float:
        return sum(cpu_s_of_tree(worker.process.pid) for worker in self._workers)

    def close(self) -> None:
        self._threads.shutdown()
        for worker in self._workers:
            worker.close()

    def _one(self, pair: Pair) -> None:
        worker = self._slots.get()
        try:
            worker.make(*pair)
        finally:
            self._slots.put(worker)


class VipsThumbnail:
    """The program, started for each image as one does on a command line, two at a time."""

    name = "vipsthumbnail"

    def __init__(self, program: Program) -> None:
        self._program = program
        self._threads = ThreadPoolExecutor(AT_ONCE)
        self._before = _cpu_s_of_children()

    def run(self, pairs: Sequence[Pair]) -> None:
        list(self._threads.map(self._one, pairs))

    def cpu_s(self) -> float:
        # Of ended children of this process: these alone end while it runs.
        return _cpu_s_of_children() - self._before

    def close(self) -> None:
        self._threads.shutdown()

    def _one(self, pair: Pair) -> None:
        source, into = pair
        options = f"[Q={QUALITY},optimize_coding,strip]"
        command = [str(self._program.path), str(source), "--size", f"{BOX[0]}x{BOX[1]}>", "-o", f"{into}{options}"]
        environment = self._program.environment() | {"VIPS_CONCURRENCY": "1"}
        subprocess.run(command, env=environment, check=True)


class _LineWorker:
    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=cwd)
        self._waiting: dict[int, Future[None]] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def make(self, source: Path, into: Path) -> None:
        done: Future[None] = Future()
        assert self.process.stdin is not None
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = done
            self.process.stdin.write(json.dumps({"id": number, "source": str(source), "into": str(into)}) + "\n")
            self.process.stdin.flush()
        done.result(timeout=120)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._waiting.pop(json.loads(line)["id"]).set_result(None)
        for left in self._waiting.values():
            left.set_exception(RuntimeError(f"{self.process.args!r} ended"))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def engine() -> Contender:
    """Ours: two workers, a decoder each."""
    command = [sys.executable, "-m", "bench.images_worker", "engine"]
    return Lines("Holdfast's engine", [command] * AT_ONCE)


def others() -> list[Contender]:
    """All that can be set up on this machine."""
    found: list[Contender] = []
    if (place := images_tools.sharp()) is not None:
        node = ["node", "worker.js"]
        found.append(Lines("sharp, 1 process, 2 at once, 1 thread", [[*node, "1"]], at_once=2, cwd=place))
        found.append(Lines("sharp, 1 process, 2 at once, 2 threads", [[*node, "2"]], at_once=2, cwd=place))
        found.append(Lines("sharp, 2 processes, 1 thread", [[*node, "1"]] * AT_ONCE, cwd=place))
    worker = str(PROJECT / "bench" / "images_worker.py")
    found.append(Lines("pyvips thumbnail", [[sys.executable, worker, "pyvips"]] * AT_ONCE))
    found.append(Lines("Pillow with draft", [[str(images_tools.python()), worker, "pillow-draft"]] * AT_ONCE))
    found.append(Lines("Pillow", [[str(images_tools.python()), worker, "pillow"]] * AT_ONCE))
    if (program := images_tools.vipsthumbnail()) is not None:
        found.append(VipsThumbnail(program))
    return found


def cpu_s_of_tree(pid: int) -> float:
    """CPU of a process and of its children, ended ones included (proc(5): utime, stime, cutime, cstime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    used = sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    children = [
        child
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text(encoding="ascii").split()
    ]
    return used + sum(cpu_s_of_tree(int(child)) for child in children)


def _cpu_s_of_children() -> float:
    used: Any = os.times()
    return float(used.children_user + used.children_system)
