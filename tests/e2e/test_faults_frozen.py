"""A worker that is stopped for longer than its lease: others do its job, and what it does when it wakes counts for nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runstate.engine import IDLE_WRITE_S
from tests.conftest import TEST_VAR
from tests.e2e.faults import BUSY_S, Lab, stack_settings, thaw
from tests.e2e.faults_kinds import LEASE_S
from tests.e2e.harness import Stack, wait_until

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))

LATE = "not recorded: job .* its claim was lost|stopped without a record"
"""What a late worker says in its log."""


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty."""
    with Lab(stack) as made:
        yield made


@pytest.mark.parametrize(
    ("point", "in_time_s"),
    [
        ("perform.after", LEASE_S + BUSY_S),
        # Stopped inside its record it holds locks until the server lets go of it.
        ("record.before_commit", max(LEASE_S, IDLE_WRITE_S) + BUSY_S),
    ],
)
def test_a_worker_stopped_beyond_its_lease_writes_nothing_when_it_wakes(lab: Lab, point: str, in_time_s: float) -> None:
    """kill -STOP before or in the middle of the record, -CONT after the run has ended: its rows are there once."""
    generated = lab.start_import(rows=10_000, jobs=20, shots=(point, "stop", 1))
    (child,) = lab.failpoints.wait_fired(point)
    frozen = lab.freeze_worker_of(child)
    stopped_at = lab.database.now()
    try:
        found = generated.wait_ended()
    finally:
        thaw([*frozen, child])
    assert found.problems == []
    assert found.lost_nodes == 1
    assert found.pick_up_s(stopped_at) < in_time_s
    wait_until(lambda: lab.log_lines(LATE), 30, "the late worker")
    assert generated.found() == found


def test_a_worker_that_wakes_while_another_does_its_job_writes_nothing(lab: Lab) -> None:
    """Both hold the job's rows ready; only the one whose token stands may write them, and the late one leaves no mark."""
    generated = lab.start_import(rows=1_000, jobs=1, shots=("perform.after", "stop", 1))
    (child,) = lab.failpoints.wait_fired("perform.after")
    frozen = lab.freeze_worker_of(child)
    try:
        lab.hold_workers("perform.after", 2.0, workers=1)
    finally:
        thaw([*frozen, child])
    wait_until(lambda: lab.log_lines(LATE), 30, "the late worker to find its claim lost")
    found = generated.wait_ended()
    assert found.problems == []
    outcomes = "SELECT outcome FROM job_attempts WHERE job_no = 1 ORDER BY claim_no"
    assert lab.database.rows(outcomes) == [("lost",), ("done",)]


def test_a_worker_that_wakes_during_the_next_run_writes_nothing(lab: Lab) -> None:
    """The stopped worker's run is over and a newer run of its table is under way when it wakes: neither is touched."""
    old = lab.start_import(rows=4_000, jobs=4, shots=("perform.after", "stop", 1))
    (child,) = lab.failpoints.wait_fired("perform.after")
    frozen = lab.freeze_worker_of(child)
    try:
        assert old.wait_ended().problems == []
        lab.failpoints.load("perform.after", "delay 0.5", 20)
        newer = lab.start_import(rows=4_000, jobs=4)
    finally:
        thaw([*frozen, child])
    wait_until(lambda: lab.log_lines(LATE), 30, "the late worker")
    lab.failpoints.unload("perform.after")
    assert newer.wait_ended().problems == []
    assert old.found().problems == []
