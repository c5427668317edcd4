"""``ops runs watch`` follows a run to its end, in a pipe, on a terminal and for scripts; its exit code says how it ended."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ops.pace import Look, Pace
from runstate import audit, control
from runstate.transaction import in_transaction
from stack.layout import PROJECT
from stack.private import Servers
from tasks import clients
from tests.integration.machinery import admitted, planned, request, run_of, work_off
from tests.integration.ops_command import Ops, Ran
from tests.kinds import KEYED
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("machinery")
QUICK = ("--interval", "0.05")
ME = audit.Actor("me", "because")


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


@contextmanager
def meanwhile(act: object, *args: object) -> Iterator[None]:
    """Do something in another thread."""
    thread = threading.Thread(target=act, args=args)  # type: ignore[arg-type]
    thread.start()
    yield
    thread.join()


def slowly(run_id: str) -> None:
    """Work a run off."""
    work_off(KEYED, run_id)


def test_for_scripts_every_change_is_a_line_of_json(ops: Ops) -> None:
    """Lines as things change, the last with the result; exit code 0 for a completed run."""
    run_id = planned(KEYED, n=12, do={"sleep_s": 0.1})
    with meanwhile(slowly, run_id):
        watched = ops("runs", "watch", run_id, "--json", *QUICK)
    assert watched.code == 0
    lines = [json.loads(line) for line in watched.out.splitlines()]
    done = [line["jobs_done"] for line in lines]
    assert done == sorted(done) and len(set(done)) > 3
    assert (lines[0]["status"], lines[-1]["status"], lines[-1]["jobs_done"]) == ("running", "completed", 12)
    assert any(line["jobs_per_s"] and line["eta_s"] for line in lines)


def test_in_a_pipe_there_are_plain_lines(ops: Ops) -> None:
    """No bar and no escapes where nobody looks, at most a line a second, and the end in any case."""
    run_id = planned(KEYED, n=12, do={"sleep_s": 0.1})
    with meanwhile(slowly, run_id):
        watched = ops("runs", "watch", run_id[:8], *QUICK)
    lines = watched.out.splitlines()
    assert watched.code == 0
    assert "\x1b" not in watched.out
    assert 2 <= len(lines) <= 4
    assert "running · " in lines[0] and "completed · 12/12 jobs · took" in lines[-1]


def test_a_run_that_has_ended_is_told_at_once(ops: Ops) -> None:
    """Watching what is over prints one line and ends."""
    run_id = planned(KEYED, n=1)
    work_off(KEYED, run_id)
    watched = ops("runs", "watch", run_id, "--json")
    assert watched.code == 0
    assert [json.loads(line)["status"] for line in watched.out.splitlines()] == ["completed"]


@pytest.mark.parametrize("how", ["failed", "refused", "cancelled"])
def test_a_run_that_did_not_complete_is_trouble(ops: Ops, how: str) -> None:
    """Exit code 1 and the reason."""
    if how == "failed":
        run_id = admitted(KEYED, plan_error="no such file")
        work_off(KEYED, run_id)
    elif how == "refused":
        planned(KEYED, n=1)
        run_id = admitted(KEYED)
    else:
        run_id = request(KEYED)
        in_transaction(clients.engine(), lambda c: control.cancel(c, run_id, ME))
    watched = ops("runs", "watch", run_id)
    assert watched.code == 1
    assert how in watched.out and (run_of(run_id).reason or "?") in watched.out


def test_a_run_that_takes_longer_than_one_waits_is_trouble(ops: Ops) -> None:
    """--timeout ends the watching, not the run."""
    run_id = planned(KEYED, n=1)
    watched = ops("runs", "watch", run_id, "--timeout", "0.3", *QUICK)
    assert watched.code == 1
    assert "still running" in watched.err
    assert run_of(run_id).active


def test_a_missing_run_is_not_waited_for(ops: Ops) -> None:
    """Exit code 3 at once."""
    assert ops("runs", "watch", "00000000").code == 3


def test_watching_survives_mysql_going_away(ops: Ops, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher says once that MySQL is away, waits, and sees the end."""
    run_id = planned(KEYED, n=1)
    complaints: list[str] = []
    complained, looked = threading.Event(), threading.Event()

    def complain(message: str) -> None:
        complaints.append(message)
        complained.set()

    def sentence(look: Look, pace: Pace) -> str:
        looked.set()
        return look.run.status.value

    monkeypatch.setattr("ops.watch.error_line", complain)
    monkeypatch.setattr("ops.watch.sentence", sentence)

    watched: list[Ran] = []

    def watch() -> None:
        watched.append(ops("runs", "watch", run_id, "--timeout", "60", *QUICK))

    with meanwhile(watch):
        # The outage is this thread's: a server dies with the thread that started it.
        assert looked.wait(10)
        servers.mariadb.kill()
        assert complained.wait(20)
        servers.mariadb.start()
        work_off(KEYED, run_id)
    assert watched[0].code == 0
    assert "completed" in watched[0].out
    assert len(complaints) == 1 and "still watching" in complaints[0]


def test_on_a_terminal_there_is_a_bar_that_fills_up() -> None:
    """A bar with jobs, rate and time left, on the last screen full; exit code 0."""
    run_id = planned(KEYED, n=20, do={"sleep_s": 0.1})
    master, slave = pty.openpty()
    watcher = subprocess.Popen(
        [sys.executable, "-m", "ops", "runs", "watch", run_id, "--interval", "0.1"],
        cwd=PROJECT,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(slave)
    screen = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(master, 4096):
                screen.extend(chunk)
        except OSError:
            # Linux answers so when the other side is closed.
            pass

    with meanwhile(read):
        wait_until(lambda: b"running" in screen, timeout_s=20)
        work_off(KEYED, run_id)
        assert watcher.wait(20) == 0
    os.close(master)
    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.decode())
    assert "━" in seen and f"keyed {run_id[:8]}" in seen
    assert re.search(r"running · \d+/20 jobs · [\d.]+ jobs/s · [\d.]+ s left", seen)
    assert re.search(r"completed · 20/20 jobs · took", seen)
