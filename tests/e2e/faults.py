"""A stack to break while an import runs, and the ways to break it.

Every fault returns the moment from which the promise counts: when what was killed answers again, or, where its place is
taken at once, when it was killed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

from stack.nodes import answering_nodes, worker_nodes
from tests.e2e import faults_kinds
from tests.e2e.faults_database import Database, Failpoints
from tests.e2e.faults_import import GeneratedImport
from tests.e2e.faults_producer import Producer
from tests.e2e.faults_proxy import CommitProxy
from tests.e2e.harness import Stack, _children, wait_until

PROMISE_S = 2.0
"""Work is picked up within its lease and this: what the soak measures, alone on its machine."""
BUSY_S = 8.0
"""What a test allows instead, whatever else its machine does."""


def stack_settings(failpoints: Path, **more: str) -> dict[str, str]:
    """What a stack must be started with to be broken here, for ``pytest.mark.stack``; the same for most of the tests, so
    that they share one.
    """
    return {
        "HOLDFAST_KINDS": faults_kinds.ALL,
        "HOLDFAST_FAILPOINTS": str(failpoints),
        "HOLDFAST_IMPORTS_MAX_MEMORY_KB": "250000",
        "HOLDFAST_JOB_MEMORY_MB": "800",
        **more,
    }


class Lab:
    """A stack, a look into its database, its failpoints, and a producer."""

    def __init__(self, stack: Stack, *, seed: int = 1) -> None:
        self.stack = stack
        self.seed = seed
        self.rng = random.Random(seed)
        self.database = Database(stack.servers)
        self.failpoints = Failpoints(Path(stack.environment["HOLDFAST_FAILPOINTS"]))
        self.producer = Producer(stack.environment)
        self.proxy: CommitProxy | None = None
        """Between the stack and MySQL, if there is one."""
        self.database.rows(faults_kinds.EFFECTS_TABLE)
        self._logs = {log: log.stat().st_size for log in self._log_files()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.failpoints.clear()
        self.producer.__exit__()

    def start_import(
        self, *, rows: int, jobs: int, kind: str = "quick_import", shots: tuple[str, str, int] | None = None
    ) -> GeneratedImport:
        """An import of so many rows in about so many jobs that has been planned.

        ``shots``: point, action, times, for `Failpoints.load`: loaded when planning is past them and before any job comes by.
        """
        made = GeneratedImport(
            self.database, self.stack.var / "imports", rows=rows, seed=self.rng.randrange(10**6), jobs=jobs
        )
        if shots:
            self.failpoints.load("record.before_commit", "delay 0.7")
        made.start(self.producer, kind)
        if shots:
            self.failpoints.wait_fired("record.before_commit")
            self.failpoints.load(*shots)
        wait_until(lambda: made.status() not in ("requested", "planning"), 60, "the plan")
        return made

    def directory(self, name: str) -> Path:
        """A new directory for jobs to look at."""
        made = self.stack.var / "imports" / name
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        return made

    def statuses(self) -> dict[str, int]:
        """How many runs are in which status."""
        return dict(self.database.rows("SELECT status, COUNT(*) FROM runs GROUP BY status"))

    def wait_decided(self, runs: int, timeout_s: float = 60.0) -> None:
        """Wait until so many starts are recorded, and each is refused or through with its planning."""
        undecided = "SELECT COUNT(*), COALESCE(SUM(status IN ('requested', 'planning')), 0) FROM runs"
        wait_until(lambda: self.database.row(undecided) == (runs, 0), timeout_s, f"{runs} starts to be decided")

    def wait_no_active_run(self, timeout_s: float = 60.0) -> None:
        """Wait until every run has ended."""
        active = "SELECT COUNT(*) FROM runs WHERE finished_at IS NULL"
        wait_until(lambda: self.database.value(active) == 0, timeout_s, "every run to end")

    def hold_workers(self, point: str, seconds: float, workers: int = 2) -> list[int]:
        """Have so many children wait at ``point`` of a job; their ids once they do."""
        self.failpoints.load(point, f"delay {seconds}", workers)
        return self.failpoints.wait_fired(point, workers)

    def workers_answer(self, timeout_s: float = 60.0) -> datetime:
        """Wait until every worker of the plan answers; when that was."""
        plan = self.stack.plan
        nodes = worker_nodes(plan.numbers)
        wait_until(lambda: answering_nodes(plan, nodes, timeout_s=0.5) >= nodes, timeout_s, "every worker to answer")
        return self.database.now()

    def restart(self, name: str) -> None:
        """``supervisorctl restart`` of one process: SIGTERM, wait, start, wait."""
        supervisor = self.stack.supervisor
        supervisor.stop([name])
        supervisor.wait(lambda: all(p.down for p in supervisor.processes() if p.name == name), 60, f"{name} to stop")
        supervisor.start([name])
        supervisor.wait(lambda: all(p.up for p in supervisor.processes() if p.name == name), 60, f"{name} to run")

    def log_lines(self, pattern: str) -> list[str]:
        """Lines written to any log since this lab was opened that match."""
        wanted = re.compile(pattern)
        found = []
        for log in self._log_files():
            with log.open("rb") as file:
                file.seek(self._logs.get(log, 0))
                found += [line for line in file.read().decode("utf-8", "replace").splitlines() if wanted.search(line)]
        return found

    def _log_files(self) -> list[Path]:
        return sorted((self.stack.var / "log").glob("*.log"))

    # -- faults ---------------------------------------------------------------------------------------------------------

    def kill_child(self) -> datetime:
        """kill -9 of one child, if there is one at the moment; its worker forks another."""
        children = self.stack.children("imports")
        _signal(self.rng.sample(children, min(1, len(children))), signal.SIGKILL)
        return self.database.now()

    def kill_children(self) -> datetime:
        """kill -9 of every child of the imports pool."""
        self.stack.kill_children("imports")
        return self.database.now()

    def kill_worker(self) -> datetime:
        """kill -9 of one worker, main process and children."""
        for main in self.rng.sample(mains := self.stack.pids("imports"), min(1, len(mains))):
            _signal([main, *_children(main)], signal.SIGKILL)
        return self.database.now()

    def kill_pool(self) -> datetime:
        """kill -9 of the imports pool, main processes and children."""
        self.stack.kill("imports")
        return self.workers_answer()

    def kill_dispatchers(self) -> datetime:
        """kill -9 of both dispatchers."""
        killed = self.database.now()
        dispatchers = len(self.stack.kill_mains("dispatcher"))
        back = "SELECT COUNT(*) FROM nodes WHERE role = 'dispatcher' AND started_at > %s"
        wait_until(lambda: self.database.value(back, killed) == dispatchers, 30, "two new dispatchers")
        return self.database.now()

    def kill_everything(self) -> datetime:
        """kill -9 of every worker, both dispatchers and both servers; then everything is started."""
        for group in ("imports", "control", "dispatcher"):
            self.stack.kill(group)
        self.stack.servers.valkey.kill()
        self.stack.servers.mariadb.kill()
        self.stack.servers.valkey.start()
        self.stack.servers.mariadb.start()
        return self.workers_answer()

    def flush_redis(self) -> datetime:
        """FLUSHALL: every message, lock and binding is gone."""
        from tests.cleaning import flush_valkey

        flush_valkey(self.stack.servers)
        return self.database.now()

    def restart_redis(self, down_s: float = 0.0) -> datetime:
        """kill -9 of Redis; it comes back empty."""
        self.stack.servers.valkey.kill()
        time.sleep(down_s)
        self.stack.servers.valkey.start()
        return self.database.now()

    def restart_mysql(self, down_s: float = 0.0) -> datetime:
        """kill -9 of mariadbd; it comes back with what was committed."""
        self.stack.servers.mariadb.kill()
        time.sleep(down_s)
        self.stack.servers.mariadb.start()
        return self.database.now()

    def freeze_worker_of(self, child: int) -> list[int]:
        """SIGSTOP of the worker that ``child`` belongs to, main process and children; whom `thaw` wakes."""
        (main,) = [pid for pid in self.stack.pids("imports") if child in _children(pid)]
        frozen = [main, *_children(main)]
        _signal(frozen, signal.SIGSTOP)
        return frozen


def thaw(pids: Iterable[int]) -> None:
    """SIGCONT."""
    _signal(pids, signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
