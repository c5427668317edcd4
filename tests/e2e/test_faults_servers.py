"""Redis and MySQL are emptied, killed and brought back during an import."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tasks.consumer import RECONNECT_S
from tests.conftest import TEST_VAR
from tests.e2e.faults import BUSY_S, Lab, stack_settings
from tests.e2e.faults_kinds import LEASE_S
from tests.e2e.harness import Stack, wait_until

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))

IN_TIME_S = LEASE_S + BUSY_S


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty."""
    with Lab(stack) as made:
        yield made


@pytest.mark.parametrize("fault", ["flush_redis", "restart_redis"])
def test_an_import_outlives_all_of_redis(lab: Lab, fault: str) -> None:
    """FLUSHALL, or kill -9 of a Redis that keeps nothing: every message is gone, and the window is out again in time."""
    generated = lab.start_import(rows=10_000, jobs=40, shots=("perform.after", "delay 0.3", 100))
    lab.failpoints.wait_fired("perform.after", 2)
    back_at = lab.flush_redis() if fault == "flush_redis" else lab.restart_redis()
    wait_until(lambda: generated.claims_since(back_at) > 2, 30, "jobs to be claimed again")
    picked_up_s = (lab.database.now() - back_at).total_seconds()
    lab.failpoints.unload("perform.after")
    found = generated.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes) == (0, 0)
    assert picked_up_s < IN_TIME_S


def test_workers_come_back_soon_after_a_long_absence_of_redis(lab: Lab) -> None:
    """They ask for it every two seconds at the most, however long it was away; what was started meanwhile runs."""
    lab.stack.servers.valkey.kill()
    run_id = lab.producer.start("hostile", jobs=[{}])
    retry = r"Trying again in ([0-9.]+) second"
    wait_until(lambda: len(lab.log_lines(retry)) >= 3 * 6, 60, "six attempts of each of the three workers")
    back_at = lab.restart_redis()
    lab.wait_no_active_run()
    waits = [float(seconds) for line in lab.log_lines(retry) for seconds in re.findall(retry, line)]
    assert max(waits) <= RECONNECT_S
    started = "SELECT MIN(claimed_at) FROM jobs WHERE run_id = %s AND job_no = 1"
    assert (lab.database.value(started, run_id) - back_at).total_seconds() < IN_TIME_S


@pytest.mark.parametrize("down_s", [0.0, LEASE_S + 2.0])
def test_an_import_outlives_a_killed_database(lab: Lab, down_s: float) -> None:
    """kill -9 of mariadbd in the middle of two records, back at once or after more than a lease: no claim is taken away."""
    generated = lab.start_import(rows=10_000, jobs=20, shots=("record.before_commit", "delay 1.0", 2))
    lab.failpoints.wait_fired("record.before_commit", 2)
    back_at = lab.restart_mysql(down_s)
    wait_until(lambda: generated.ended_since(back_at) >= 2, 30, "the two records")
    picked_up_s = (lab.database.now() - back_at).total_seconds()
    found = generated.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.lost_nodes) == (0, 0)
    assert picked_up_s < IN_TIME_S


def test_a_worker_that_dies_while_the_database_is_away_is_found(lab: Lab) -> None:
    """A child is killed during the outage: its job comes back a lease after MySQL does."""
    generated = lab.start_import(rows=10_000, jobs=20, shots=("perform.after", "delay 2.0", 2))
    lab.failpoints.wait_fired("perform.after", 2)
    lab.stack.servers.mariadb.kill()
    lab.stack.kill_children("imports")
    back_at = lab.restart_mysql()
    found = generated.wait_ended()
    assert found.problems == []
    assert len(found.lost) == 2
    assert found.pick_up_s(back_at) < IN_TIME_S
