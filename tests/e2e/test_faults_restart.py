"""Deploying: pools are stopped and started one after another while they work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.harness import Stack

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty."""
    with Lab(stack) as made:
        yield made


def test_a_rolling_restart_loses_nothing_and_counts_no_crash(lab: Lab) -> None:
    """Every program is restarted with SIGTERM under load, one by one: running jobs finish, nothing is done twice."""
    generated = lab.start_import(rows=24_000, jobs=240, shots=("perform.after", "delay 0.5", 240))
    before = {group: set(lab.stack.pids(group)) for group in ("imports", "dispatcher", "control")}
    for group, pids in before.items():
        for process in lab.stack.processes(group):
            lab.restart(process.name)
        assert not pids & set(lab.stack.pids(group))
    assert generated.status() == "running", "it must have been under load"
    lab.failpoints.unload("perform.after")
    found = generated.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes, found.lost) == (0, 0, [])
    assert lab.database.value("SELECT COUNT(*) FROM job_attempts WHERE outcome <> 'done'") == 0
