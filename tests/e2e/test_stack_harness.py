"""The harness that the other end-to-end tests stand on."""

from __future__ import annotations

import pytest

from tests.e2e.harness import Stack, wait_until


def test_supervisor_replaces_what_is_killed(stack: Stack) -> None:
    """kill -9 of the whole imports pool: Supervisor has new workers running that answer."""
    before = set(stack.pids("imports"))
    assert len(before) == 2
    stack.kill("imports")
    wait_until(lambda: len(stack.pids("imports")) == 2 and not before & set(stack.pids("imports")), 30, "new workers")
    stack.start_all()


def test_a_worker_replaces_a_killed_child(stack: Stack) -> None:
    """kill -9 of a child: its worker forks another."""
    before = set(stack.children("control"))
    assert before
    stack.kill_children("control")
    wait_until(lambda: stack.children("control") and not before & set(stack.children("control")), 30, "a new child")


@pytest.mark.stack(HOLDFAST_IMPORTS_PROCESSES="1", HOLDFAST_IMPORTS_CONCURRENCY="2", HOLDFAST_DISPATCHERS="1")
def test_numbers_come_from_the_environment(stack: Stack) -> None:
    """Processes and concurrency of a pool, and the number of dispatchers, are environment variables."""
    assert len(stack.pids("imports")) == 1
    wait_until(lambda: len(stack.children("imports")) == 2, 10, "two children")
    assert len(stack.pids("dispatcher")) == 1
    assert stack.processes("email") == []
