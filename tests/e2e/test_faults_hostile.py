"""Jobs that misbehave: each a clear outcome, the others go on, the pool lives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.harness import Stack, wait_until

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty."""
    with Lab(stack) as made:
        yield made


def run_jobs(lab: Lab, *jobs: dict[str, Any], kind: str = "hostile") -> str:
    """Run these jobs to the end of their run; its id."""
    run_id = lab.producer.start(kind, jobs=list(jobs))
    lab.wait_no_active_run()
    return run_id


def letters(lab: Lab) -> list[tuple[Any, ...]]:
    """The dead letters."""
    return lab.database.rows("SELECT job_no, error_class, attempts, crashes FROM dead_letters ORDER BY job_no")


def counters(lab: Lab) -> tuple[Any, ...]:
    """How the only run ended, and the rows its jobs left: how many, and of how many jobs."""
    return (
        *lab.database.row("SELECT status, jobs_done, jobs_dead FROM runs"),
        *lab.database.row("SELECT COUNT(*), COUNT(DISTINCT job_no) FROM effects"),
    )


def test_a_job_that_kills_its_process_is_dead_after_three_crashes(lab: Lab) -> None:
    """kill -9 of its own process each time: a dead letter `worker_lost`, its neighbours are done, the worker has not changed."""
    workers = lab.stack.pids("imports")
    run_jobs(lab, {"kill": True}, *[{}] * 10)
    assert counters(lab) == ("completed", 10, 1, 10, 10)
    ((job_no, error_class, _, _),) = letters(lab)
    assert (job_no, error_class) == (1, "worker_lost")
    assert lab.database.value("SELECT COUNT(*) FROM job_attempts WHERE job_no = 1") == 3
    assert lab.database.value("SELECT SUM(crashes) FROM jobs WHERE job_no <> 1") == 0
    assert lab.stack.pids("imports") == workers
    # A worker may take its time to notice; then it must not be in the next test.
    wait_until(lambda: len(lab.log_lines("Task handler raised error: WorkerLostError")) == 3, timeout_s=20)


def test_a_job_that_exits_is_retried_and_dies_as_any_other(lab: Lab) -> None:
    """SystemExit is an exception: three attempts, a dead letter, no child lost."""
    run_jobs(lab, {"exit": True}, *[{}] * 4)
    assert counters(lab) == ("completed", 4, 1, 4, 4)
    assert letters(lab) == [(1, "SystemExit", 3, 0)]
    assert lab.log_lines("WorkerLostError") == []


def test_a_job_that_hangs_is_ended_at_its_time_limit(lab: Lab) -> None:
    """Beyond timeout_s the work is ended, an attempt is used, and after the last a dead letter says why."""
    run_jobs(lab, {"hang_s": 60}, *[{}] * 4)
    assert counters(lab) == ("completed", 4, 1, 4, 4)
    ((job_no, error_class, attempts, _),) = letters(lab)
    assert (job_no, error_class, attempts) == (1, "TimeoutError", 3)
    assert lab.log_lines("Exception in thread") == []


def test_a_job_that_does_not_hear_its_time_limit_loses_its_claim(lab: Lab) -> None:
    """It is not renewed beyond timeout_s, so that it is given up even while its child is still stuck in it."""
    run_jobs(lab, {"hang_s": 8, "deaf": True}, *[{}] * 4, kind="fragile")
    assert counters(lab) == ("completed", 4, 1, 4, 4)
    ((job_no, error_class, _, _),) = letters(lab)
    assert (job_no, error_class) == (1, "worker_lost")
    wait_until(
        lambda: lab.log_lines("not recorded: job 1 .* claim was lost|stopped without a record"), 30, "it to wake"
    )
    assert counters(lab) == ("completed", 4, 1, 4, 4), "and woken, it writes nothing"


def test_a_child_that_has_grown_is_replaced_between_two_jobs(lab: Lab) -> None:
    """worker_max_memory_per_child: the job that took much is done, its child makes room for a fresh one."""
    run_jobs(lab, {"megabytes": 300})
    assert counters(lab) == ("completed", 1, 0, 1, 1)
    greedy = int(lab.database.value("SELECT JSON_VALUE(result, '$.pid') FROM jobs WHERE job_no = 1"))
    wait_until(lambda: greedy not in lab.stack.children("imports"), 30, "another child")
    assert lab.log_lines("WorkerLostError") == []


def test_a_job_that_asks_for_more_memory_than_it_may_have_is_a_dead_letter(lab: Lab) -> None:
    """A MemoryError in the job, not a kernel that ends some process of the host."""
    run_jobs(lab, {"megabytes": 2000}, *[{}] * 4)
    assert counters(lab) == ("completed", 4, 1, 4, 4)
    assert letters(lab) == [(1, "MemoryError", 3, 0)]
    assert lab.log_lines("WorkerLostError") == []
