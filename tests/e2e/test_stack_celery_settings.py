"""What the settings of celeryconfig.py do to real workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from stack.layout import PROJECT
from stack.private import Servers
from tests.e2e.harness import wait_until

StartWorker = Callable[..., None]


@contextmanager
def _worker(log: Path, name: str, concurrency: int) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "tests.e2e.probe_app",
        "worker",
        "-Q",
        "probe",
        "-n",
        f"{name}@probe",
    ]
    command += ["--concurrency", str(concurrency), "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=os.environ, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def start_worker(broker_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Start bare Celery workers on the queue ``probe``; each consumes when this returns."""
    from tests.e2e.probe_app import app

    with ExitStack() as stack:

        def start(name: str, concurrency: int = 1) -> None:
            stack.enter_context(_worker(tmp_path / f"{name}.log", name, concurrency))
            with app.connection_for_write() as connection:
                ping = partial(app.control.ping, [f"{name}@probe"], timeout=0.5, limit=1, connection=connection)
                wait_until(ping, 30, f"worker {name}")

        yield start
        (tmp_path / "go").touch()


def _marks(directory: Path) -> int:
    return len(list(directory.glob("mark-*")))


def test_a_long_job_takes_no_second_message_hostage(start_worker: StartWorker, tmp_path: Path) -> None:
    """While one worker is busy, every waiting message goes to the one that is idle."""
    from tests.e2e.probe_app import hold, mark

    start_worker("a")
    hold.apply_async((str(tmp_path),), queue="probe")
    wait_until((tmp_path / "holding").exists, 10, "the long job to begin")
    # One child is busy: a greedy worker takes one of these now, while nobody else is there.
    for number in range(4):
        mark.apply_async((str(tmp_path), number), queue="probe")
    start_worker("b")
    wait_until(lambda: _marks(tmp_path) == 4, 10, "the idle worker to do all four")
    assert not (tmp_path / "go").exists()


def test_every_child_of_a_worker_is_used(start_worker: StartWorker, tmp_path: Path) -> None:
    """A busy child keeps no message from its idle sibling."""
    from tests.e2e.probe_app import hold, mark

    start_worker("a", concurrency=2)
    hold.apply_async((str(tmp_path),), queue="probe")
    wait_until((tmp_path / "holding").exists, 10, "the long job to begin")
    for number in range(4):
        mark.apply_async((str(tmp_path), number), queue="probe")
    wait_until(lambda: _marks(tmp_path) == 4, 10, "the other child to do all four")


def test_a_worker_consumes_again_after_the_broker_was_away(
    start_worker: StartWorker, servers: Servers, tmp_path: Path
) -> None:
    """Killed or hung and back, the broker finds its workers again, without a restart."""
    from tests.e2e.probe_app import mark

    start_worker("a")
    servers.valkey.kill()
    time.sleep(1)  # long enough that the worker has noticed; what it does then is what is tested
    servers.valkey.start()
    mark.apply_async((str(tmp_path), 1), queue="probe")
    wait_until(lambda: _marks(tmp_path) == 1, 30, "the message after the outage")


@pytest.mark.parametrize(("trouble", "within_s"), [("killed", 1), ("frozen", 3)])
def test_publishing_fails_within_three_seconds_when_the_broker_is_away(
    servers: Servers, broker_url: str, tmp_path: Path, trouble: str, within_s: float
) -> None:
    """A producer hears at once that the broker is down, within 3 s that it hangs, on a connection that it had, too."""
    from tests.e2e.probe_app import mark

    mark.apply_async((str(tmp_path), 0), queue="probe")
    if trouble == "killed":
        servers.valkey.kill()
    else:
        servers.valkey.freeze()
    try:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(OperationalError):
                mark.apply_async((str(tmp_path), 0), queue="probe")
            assert time.monotonic() - began < within_s
    finally:
        if trouble == "killed":
            servers.valkey.start()
        else:
            servers.valkey.thaw()
    mark.apply_async((str(tmp_path), 0), queue="probe")
