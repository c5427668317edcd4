"""A pool and its dispatchers are stopped, an operator recovers the run, and the old workers wake up later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.faults_import import GeneratedImport
from tests.e2e.faults_kinds import STALE_AFTER_S
from tests.e2e.harness import Stack, wait_until

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))

KIND = "hasty_import"


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty; whatever a test stopped goes on afterwards."""
    with Lab(stack) as made:
        yield made
        for group in ("imports", "dispatcher"):
            stack.thaw(group)


@pytest.fixture
def stopped(lab: Lab) -> GeneratedImport:
    """A stale import: both children are stopped at the end of a job, and so are their workers and the dispatchers."""
    generated = lab.start_import(rows=4_000, jobs=10, kind=KIND, shots=("perform.after", "stop", 2))
    lab.failpoints.wait_fired("perform.after", 2)
    for group in ("imports", "dispatcher"):
        lab.stack.freeze(group)
    silent = "SELECT heartbeat_at < NOW(6) - INTERVAL %s SECOND FROM runs WHERE run_id = %s"
    wait_until(lambda: lab.database.value(silent, STALE_AFTER_S + 1, generated.run_id), 30, "the run to be stale")
    return generated


def recover(lab: Lab, run_id: str, how: str) -> None:
    """As an operator does it."""
    lab.stack.run("-m", "ops", "runs", "recover", run_id, how, "--actor", "anna", "--reason", "the pool hangs")
    assert lab.database.rows("SELECT actor, subject, reason FROM audit_log") == [("anna", run_id, "the pool hangs")]


def wake(lab: Lab) -> None:
    """Let everything that was stopped go on, and wait until both late workers have found out."""
    for group in ("dispatcher", "imports"):
        lab.stack.thaw(group)
    late = r"not recorded: |stopped without a record"
    wait_until(lambda: len(lab.log_lines(late)) >= 2, 30, "both late workers")


def test_a_stale_run_blocks_its_key_until_it_is_failed_and_its_late_workers_write_nothing(
    lab: Lab, stopped: GeneratedImport
) -> None:
    """A start is refused as stale; `recover --fail` frees the key; the old workers wake in the middle of the next run."""
    old = stopped.run_id
    refused = stopped.start(lab.producer, KIND)
    reason = "SELECT reason FROM runs WHERE run_id = %s"
    wait_until(lambda: lab.database.value(reason, refused), 30, "the refusal")
    assert f"run {old} holds the key and is stale since" in lab.database.value(reason, refused)

    recover(lab, old, "--fail")
    lab.database.rows(f"TRUNCATE TABLE {stopped.table}")
    newer = stopped.start(lab.producer, KIND)
    wait_until(lambda: stopped.status() == "planning", 30, "the next run to be admitted")
    lab.failpoints.load("record.before_commit", "delay 0.2", 10)
    wake(lab)
    assert stopped.wait_ended().problems == []
    assert stopped.run_id == newer
    assert lab.database.value("SELECT status FROM runs WHERE run_id = %s", old) == "failed"
    held = "SELECT COUNT(*) FROM jobs WHERE run_id = %s AND state IN ('pending', 'queued', 'running')"
    wait_until(lambda: lab.database.value(held, old) == 0, 30, "what was left of the old run to be cancelled")


def test_a_resumed_run_goes_on_under_a_new_fence_and_its_late_workers_write_nothing(
    lab: Lab, stopped: GeneratedImport
) -> None:
    """`recover --resume`: the claims of the stopped workers are void when they wake, and their jobs are done again."""
    recover(lab, stopped.run_id, "--resume")
    wake(lab)
    found = stopped.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes) == (0, 0)
    assert lab.database.value("SELECT fence FROM runs WHERE run_id = %s", stopped.run_id) == 2
    assert lab.database.value("SELECT COUNT(*) FROM job_attempts WHERE outcome = 'recovered'") == 2
