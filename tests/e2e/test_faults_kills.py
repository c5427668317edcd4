"""Whatever is killed during an import: every row once, counters equal to the ledger, no healthy job dead, picked up in time.

The import is the real one with a lease of 3 s, its table has no unique key, and each fault strikes while both workers hold
a job, at a place and with rows that the seed chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.faults import BUSY_S, Lab, stack_settings
from tests.e2e.faults_kinds import LEASE_S
from tests.e2e.harness import Stack, wait_until

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))

IN_TIME_S = LEASE_S + BUSY_S


@pytest.fixture
def lab(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The stack, quiet and empty; the seed is the test's parameter, or 1."""
    callspec = getattr(request.node, "callspec", None)
    with Lab(stack, seed=callspec.params.get("seed", 1) if callspec else 1) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_child_costs_one_crash(lab: Lab, seed: int) -> None:
    """kill -9 of a child that holds a job, before its record (seed 1) or in it (seed 2): its job alone is done again."""
    at = "perform.after" if seed == 1 else "record.before_commit"
    generated = lab.start_import(rows=10_000, jobs=20, shots=(at, "delay 1.5", 2))
    lab.failpoints.wait_fired(at, 2)
    back_at = lab.kill_child()
    found = generated.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes) == (1, 0)
    assert found.pick_up_s(back_at) < IN_TIME_S


def test_a_lost_job_goes_before_those_that_never_had_a_worker(lab: Lab) -> None:
    """With a full queue before it, the job of a killed child is in time all the same."""
    generated = lab.start_import(rows=8_000, jobs=80, shots=("perform.after", "delay 0.4", 100))
    lab.failpoints.wait_fired("perform.after", 4)
    back_at = lab.kill_child()
    wait_until(lambda: generated.found().lost, 20, "the job to be claimed again")
    lab.failpoints.unload("perform.after")
    found = generated.wait_ended()
    assert found.problems == []
    assert found.pick_up_s(back_at) < IN_TIME_S


def test_a_killed_pool_costs_no_crash(lab: Lab) -> None:
    """kill -9 of every worker and child of the pool: their nodes are lost, no job is blamed."""
    generated = lab.start_import(rows=10_000, jobs=20, shots=("perform.after", "delay 2", 2))
    lab.failpoints.wait_fired("perform.after", 2)
    back_at = lab.kill_pool()
    found = generated.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes) == (0, 2)
    assert found.pick_up_s(back_at) < IN_TIME_S


def test_killed_dispatchers_catch_up(lab: Lab) -> None:
    """kill -9 of both dispatchers and of both children at once: the new dispatchers find what was lost before they came."""
    generated = lab.start_import(rows=10_000, jobs=20, shots=("perform.after", "delay 2", 2))
    lab.failpoints.wait_fired("perform.after", 2)
    lab.kill_children()
    back_at = lab.kill_dispatchers()
    found = generated.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes) == (2, 0)
    assert found.pick_up_s(back_at) < IN_TIME_S


def test_everything_killed_at_once_goes_on_where_it_was(lab: Lab) -> None:
    """kill -9 of all workers, dispatchers and both servers, restarted: as if nothing had been."""
    generated = lab.start_import(rows=10_000, jobs=20, shots=("record.before_commit", "delay 2", 2))
    lab.failpoints.wait_fired("record.before_commit", 2)
    back_at = lab.kill_everything()
    found = generated.wait_ended()
    assert found.problems == []
    assert len(found.lost) == 2
    assert found.pick_up_s(back_at) < IN_TIME_S


def test_a_death_at_every_step_of_the_way(lab: Lab) -> None:
    """kill -9 at each failpoint from admission to the reaper, one after another: the run comes through all of them."""
    before = ("admission.before_commit", "admission.after_commit", "plan.batch")
    for point in before:
        lab.failpoints.load(point, "kill")
    generated = lab.start_import(rows=10_000, jobs=40)
    assert [point for point in before if not lab.failpoints.fired(point)] == []
    during = (
        "claim.before_commit",
        "claim.after_commit",
        "perform.after",
        "record.before_commit",
        "record.after_commit",
    )
    for point in during:
        lab.failpoints.load(point, "kill")
        lab.failpoints.wait_fired(point)
    lab.failpoints.load("publish.before", "kill")
    lab.failpoints.load("reap.before_commit", "kill")
    lab.failpoints.wait_fired("reap.before_commit")
    found = generated.wait_ended()
    assert found.problems == []
