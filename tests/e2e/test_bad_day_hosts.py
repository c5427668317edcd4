"""A second host joins and is lost; a backup from the middle of the work is put back."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.leftovers import stack_processes
from tests.e2e.backups import back_up, restore
from tests.e2e.email_lab import EmailLab, email_lab
from tests.e2e.email_lab import stack_settings as email_settings
from tests.e2e.harness import Stack, wait_until
from tests.email_server import free_port
from tests.kinds import ALL, EFFECTS_TABLE

PORT = free_port()
FAILPOINTS = Path(f"/tmp/holdfast-hosts-{os.getpid()}")
SETTINGS = {
    **email_settings(PORT, FAILPOINTS),
    "HOLDFAST_KINDS": f"{ALL},tests.e2e.email_lab:QUICK_CAMPAIGN",
    "HOLDFAST_IMPORTS_PROCESSES": "1",
    "HOLDFAST_EMAIL_PROCESSES": "1",
}
pytestmark = [pytest.mark.stack(**SETTINGS), pytest.mark.timeout(180)]
OTHER_NAME = "import socket\nsocket.gethostname = lambda: 'otherhost'\n"


@pytest.fixture
def lab(stack: Stack) -> Iterator[EmailLab]:
    """Work to be done on both days: rows without a unique key, and mails."""
    with email_lab(stack, PORT) as made:
        made.database.rows(EFFECTS_TABLE)
        yield made


@pytest.fixture
def other_host(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The same supervisord.conf under another name in another directory, on the same Redis and MySQL; not started yet."""
    (tmp_path / "sitecustomize.py").write_text(OTHER_NAME, encoding="utf-8")
    host = Stack(stack.servers, frozenset(), tmp_path / "var")
    (tmp_path / "var" / "log").mkdir(parents=True)
    host._launch(
        {
            **{name: value for name, value in stack.environment.items() if name.startswith(("HOLDFAST_", "EMAIL_"))},
            "HOLDFAST_CONTROL_PROCESSES": "0",
            "HOLDFAST_DISPATCHERS": "1",
            "PYTHONPATH": str(tmp_path),
        }
    )
    try:
        yield host
    finally:
        host.end()


def jobs_of(lab: EmailLab, run_id: str) -> Counter[str]:
    """How many jobs each worker has done."""
    rows = lab.database.rows("SELECT worker FROM job_attempts WHERE run_id = %s AND outcome = 'done'", run_id)
    return Counter(worker for (worker,) in rows)


def rows_of(lab: EmailLab, run_id: str) -> Counter[int]:
    """How often each job left its row."""
    return Counter(job for (job,) in lab.database.rows("SELECT job_no FROM effects WHERE run_id = %s", run_id))


def test_a_second_host_takes_its_share_and_loses_nothing_when_it_dies(
    lab: EmailLab, stack: Stack, other_host: Stack
) -> None:
    """Work spreads as soon as its workers consume; all of its processes killed at once, the first host does the rest."""
    jobs = 150
    run_id = lab.producer.start("keyed", n=jobs, do={"sleep_s": 0.15})
    other_host.supervisor.start(process.name for process in other_host.processes())
    wait_until(lambda: jobs_of(lab, run_id)["imports0@otherhost"] >= 10, 60, "the second host to work")
    wait_until(
        lambda: lab.database.value(
            "SELECT COUNT(*) FROM jobs WHERE worker = 'imports0@otherhost' AND state = 'running'"
        ),
        30,
        "a job in the second host's hands",
    )
    for pid in stack_processes(other_host.var):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert lab.status(run_id) == "running", "it must die in the middle"
    lab.wait_ended(run_id, 100)
    assert rows_of(lab, run_id) == Counter(range(1, jobs + 1))
    assert {"imports0@otherhost", f"imports0@{os.uname().nodename}"} <= jobs_of(lab, run_id).keys()
    assert lab.database.value("SELECT COUNT(*) FROM dead_letters") == 0


def test_a_backup_of_the_middle_of_the_work_is_put_back(lab: EmailLab, stack: Stack, tmp_path: Path) -> None:
    """Every run ends and no row is doubled; mails sent since the backup go out again but to those that are suppressed."""
    jobs, recipients = 60, 80
    done = "SELECT jobs_done FROM runs WHERE run_id = %s"
    run_id = lab.producer.start("keyed", n=jobs, do={"sleep_s": 0.1})
    campaign = lab.start("spring", recipients, rates=["10/s"], batch_size=10)
    wait_until(lambda: lab.database.value(done, run_id) >= 8, 60, "some rows")
    lab.wait_sent(10)
    before = set(lab.server.recipients())
    back_up(stack.servers, tmp_path / "backup.sql")
    at_backup = lab.database.value(done, run_id)
    wait_until(lambda: lab.database.value(done, run_id) >= at_backup + 10, 60, "work after the backup")
    lab.wait_sent(len(before) + 25)
    later = lab.producer.start("free", n=1)
    for group in ("imports", "email", "control", "dispatcher"):
        stack.stop(group)
    since = set(lab.server.recipients()) - before
    restore(stack.servers, tmp_path / "backup.sql")
    assert lab.database.value(done, run_id) < at_backup + 10
    # What the provider's log says was sent since the backup: this one is kept from a second copy.
    known = lab.server.recipients()[-1]
    why = ("--reason", "sent after the backup, says the provider's log", "--actor", "anna")
    lab.ops("email", "suppressions", "add", known, "--scope", "campaign:spring", *why)
    for group in ("imports", "email", "control", "dispatcher"):
        stack.start(group)
    lab.wait_ended(run_id, 60)
    lab.wait_ended(campaign, 60)
    assert rows_of(lab, run_id) == Counter(range(1, jobs + 1))
    assert lab.database.rows("SELECT run_id FROM runs WHERE run_id = %s", later) == [], "started after the backup: gone"
    copies = Counter(lab.server.recipients())
    assert copies.keys() == {f"p{n}@example.com" for n in range(recipients)}
    twice = {address for address, count in copies.items() if count > 1}
    assert twice <= since, "nobody who was sent to before the backup gets a second copy"
    assert twice, "this is the exception that the handbook tells of"
    assert copies[known] == 1
