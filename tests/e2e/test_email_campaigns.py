"""Campaigns on real workers that get killed, paused, throttled, and lose their Redis: no one twice, no one forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.email_lab import PAUSE_S, EmailLab, email_lab, stack_settings
from tests.e2e.harness import Stack, wait_until
from tests.email_server import free_port

PORT = free_port()
pytestmark = pytest.mark.stack(**stack_settings(PORT, TEST_VAR / "email-failpoints"))


@pytest.fixture
def lab(stack: Stack) -> Iterator[EmailLab]:
    """The stack, quiet and empty, and the mail server."""
    with email_lab(stack, PORT) as made:
        yield made


def test_kills_at_every_phase_cost_no_one_and_double_no_one(lab: EmailLab) -> None:
    """kill -9 before and after each commit and around DATA: only what was on its way is in doubt, and never sent again."""
    points = (
        "plan.batch",
        "claim.after_commit",
        "checkpoint.before_commit",
        "email.before_data",
        "email.after_data",
        "perform.after",
        "record.before_commit",
    )
    for point in points:
        lab.failpoints.load(point, "kill")
    run_id = lab.start("kills", 60, batch_size=4)
    lab.wait_ended(run_id, 90)
    assert {point: len(lab.failpoints.fired(point)) for point in points} == dict.fromkeys(points, 1)
    found = lab.outcome("kills", 60)
    assert found.problems == []
    # Killed before DATA, after it, and before a flight's results were committed: no more than a flight each, at most a batch.
    assert 2 <= found.states["in_doubt"] <= 3 * 4
    assert found.states["sent"] == 60 - found.states["in_doubt"]


def test_a_storm_of_454_makes_all_workers_quiet_within_a_second(lab: EmailLab) -> None:
    """Nobody is lost, and no attempt is used."""
    run_id = lab.start("storm", 300, batch_size=10)
    lab.wait_sent(5)
    lab.server.always["DATA"] = "454 4.7.0 please wait"
    first = len(lab.server.asked)
    wait_until(lambda: any(verb == "DATA" for _, verb, _ in lab.server.asked[first:]), 10, "the storm")
    storm_at = next(at for at, verb, _ in lab.server.asked[first:] if verb == "DATA")
    wait_until(lambda: time.time() > storm_at + PAUSE_S - 0.3, 10, "the pause to be nearly over")
    assert [at - storm_at for at, _, _ in lab.server.asked if storm_at + 1 < at] == []
    lab.server.always.clear()
    lab.wait_ended(run_id)
    assert lab.outcome("storm", 300).problems == []
    assert lab.database.rows("SELECT DISTINCT attempts, state FROM email_recipients") == [(1, "sent")]
    assert lab.database.value("SELECT SUM(attempts) FROM jobs WHERE run_id = %s", run_id) == 0


def test_pause_resume_crash_resume_leave_a_whole_list(lab: EmailLab) -> None:
    """A pause acts within a second; the union of what was sent is the list, the intersection empty."""
    # Slow enough that an operator's command comes in time on a busy machine, too.
    lab.server.slow_s = 0.3
    run_id = lab.start("steered", 120, batch_size=10)
    lab.wait_sent(10)
    lab.ops("runs", "pause", run_id, "--reason", "look at the text")
    paused_at = time.time()
    wait_until(lambda: time.time() > paused_at + 2, 10, "two seconds of silence")
    assert [taken.at - paused_at for taken in lab.server.taken if taken.at > paused_at + 1] == []
    assert len(lab.server.taken) < 120
    lab.ops("runs", "resume", run_id, "--reason", "it is fine")
    lab.wait_sent(len(lab.server.taken) + 4)
    lab.stack.kill("email")
    lab.ops("runs", "pause", run_id, "--reason", "power cut")
    lab.server.slow_s = 0.0
    lab.ops("runs", "resume", run_id, "--reason", "it is back")
    lab.wait_ended(run_id)
    found = lab.outcome("steered", 120)
    assert found.problems == []
    # 0.3 s a message: each of the two workers that were killed had one in the air.
    assert found.states["in_doubt"] <= 2


def test_sending_stops_without_redis_and_goes_on_by_itself(lab: EmailLab) -> None:
    """Nobody knows how much may go: nothing does, and no attempt is used."""
    run_id = lab.start("without-redis", 150, batch_size=10, rates=["50/s"])
    lab.wait_sent(10)
    lab.stack.servers.valkey.kill()
    killed_at = time.time()
    wait_until(lambda: time.time() > killed_at + 3, 10, "three seconds without Redis")
    # A slot that was given out before may be used within its short wait.
    assert [taken.at - killed_at for taken in lab.server.taken if taken.at > killed_at + 1] == []
    lab.stack.servers.valkey.start()
    lab.wait_ended(run_id, 90)
    assert lab.outcome("without-redis", 150).problems == []
    assert lab.database.rows("SELECT DISTINCT attempts, state FROM email_recipients") == [(1, "sent")]
