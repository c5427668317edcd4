"""Two hundred starts of one key at once, from eight processes: one run, 199 refusals that name it, whatever breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.faults_producer import Producer, Started
from tests.e2e.harness import Stack, wait_until

LOCK_TTL_S = 1.0
# Three children decide at once: with one there would be no contention.
SETTINGS = stack_settings(
    TEST_VAR / "failpoints", HOLDFAST_CONTROL_CONCURRENCY="3", HOLDFAST_LOCK_TTL_S=str(LOCK_TTL_S)
)
pytestmark = pytest.mark.stack(**SETTINGS)

PRODUCERS, EACH = 8, 25
STARTS = PRODUCERS * EACH
JOBS = [1, 2, 3]
TROUBLE = r"Traceback|\bERROR\b|Deadlock|MySQL error 1213"


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Producer]]:
    """The producers' processes, once there are any."""
    made: list[Producer] = []
    yield made
    for producer in made:
        producer.__exit__()


@pytest.fixture
def producers(stack: Stack, processes: list[Producer]) -> list[Producer]:
    """Eight processes."""
    if not processes:
        processes += [Producer(stack.environment) for _ in range(PRODUCERS)]
    return processes


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty."""
    with Lab(stack) as made:
        yield made


class Rush:
    """All the starts, of runs that last until `finish` lets them."""

    def __init__(self, lab: Lab, producers: list[Producer]) -> None:
        self._lab = lab
        self._producers = producers
        self._directory = lab.directory("rush")
        for producer in producers:
            producer.ask("holding", EACH, directory=str(self._directory), jobs=JOBS)

    def started(self) -> list[Started]:
        """Wait until every producer is through."""
        return [started for producer in self._producers for started in producer.answer()]

    def wait_recorded(self, starts: int) -> None:
        """Wait until so many starts are recorded."""
        recorded = "SELECT COUNT(*) FROM runs"
        wait_until(lambda: self._lab.database.value(recorded) >= starts, 60, f"{starts} starts")

    def check(self, started: list[Started]) -> None:
        """One was admitted, every other names it; then let the run end, and see that its jobs were done once."""
        lab = self._lab
        assert [one.error for one in started if one.error] == []
        lab.wait_decided(STARTS)
        assert lab.statuses() == {"running": 1, "refused": STARTS - 1}
        active = lab.database.value("SELECT run_id FROM runs WHERE status = 'running'")
        assert {one.run_id for one in started} == {row[0] for row in lab.database.rows("SELECT run_id FROM runs")}
        assert lab.database.rows("SELECT DISTINCT refused_by FROM runs WHERE status = 'refused'") == [(active,)]
        named = "SELECT COUNT(*) FROM runs WHERE status = 'refused' AND reason LIKE %s"
        assert lab.database.value(named, f"already running: run {active} is %, last heartbeat % s ago") == STARTS - 1
        (self._directory / "go").touch()
        lab.wait_no_active_run()
        assert lab.database.rows("SELECT job_no, COUNT(*) FROM effects GROUP BY job_no") == [(n, 1) for n in JOBS]


def test_one_is_admitted(lab: Lab, producers: list[Producer]) -> None:
    """Nothing breaks: no deadlock and no error in any log either."""
    rush = Rush(lab, producers)
    rush.check(rush.started())
    assert lab.log_lines(TROUBLE) == []


def test_one_is_admitted_though_redis_is_flushed_three_times(lab: Lab, producers: list[Producer]) -> None:
    """Locks and messages vanish: once while one is being admitted and others wait for its lock, then while they are decided."""
    lab.failpoints.load("admission.before_commit", "delay 1.0", 2)
    rush = Rush(lab, producers)
    lab.failpoints.wait_fired("admission.before_commit")
    lab.flush_redis()
    for starts in (80, 140):
        rush.wait_recorded(starts)
        lab.flush_redis()
    rush.check(rush.started())
    assert lab.log_lines(TROUBLE) == []


def test_one_is_admitted_though_admission_outlasts_its_lock(lab: Lab, producers: list[Producer]) -> None:
    """The lock runs out between the look and the COMMIT, and before the look, several times over."""
    for point in ("admission.before_commit", "admission.locked"):
        lab.failpoints.load(point, f"delay {LOCK_TTL_S * 1.5}", 4)
    rush = Rush(lab, producers)
    rush.check(rush.started())
    assert len(lab.failpoints.fired("admission.before_commit")) == 4
    assert lab.log_lines(TROUBLE) == []


def test_one_is_admitted_though_redis_is_down_for_all_of_the_starts(lab: Lab, producers: list[Producer]) -> None:
    """Each .delay() returns within three seconds; what it started is decided once Redis is back."""
    lab.stack.servers.valkey.kill()
    rush = Rush(lab, producers)
    started = rush.started()
    assert max(one.seconds for one in started) < 3
    assert lab.statuses() == {"requested": STARTS}
    lab.stack.servers.valkey.start()
    rush.check(started)


def test_one_is_admitted_though_redis_dies_while_they_are_decided(lab: Lab, producers: list[Producer]) -> None:
    """Killed in the middle and brought back: admission decides in MySQL meanwhile."""
    rush = Rush(lab, producers)
    rush.wait_recorded(60)
    lab.restart_redis(down_s=2.0)
    started = rush.started()
    assert max(one.seconds for one in started) < 3
    rush.check(started)


def test_one_is_admitted_though_children_die_in_admission(lab: Lab, producers: list[Producer]) -> None:
    """kill -9 before and after the COMMIT of admissions: their starts are decided by others."""
    for point in ("admission.locked", "admission.before_commit", "admission.after_commit"):
        lab.failpoints.load(point, "kill")
    rush = Rush(lab, producers)
    rush.check(rush.started())
    assert lab.failpoints.fired("admission.after_commit")
