"""The dispatcher's rounds: what it finds and moves, and what it leaves alone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis as redis_driver

from runstate import nodes, reap
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.dispatcher import Dispatcher
from tasks.envelope import run_jobs
from tasks.publish import queue_length
from tests.integration.machinery import admitted, execute, job, planned, query, queued, request, run_of, work_off
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def dispatcher(broker_url: str, machinery: None) -> Dispatcher:
    """A dispatcher that has been connected for long enough to judge leases."""
    made = Dispatcher()
    made.round()
    made._connected_at = 0.0
    return made


@pytest.fixture
def broker(broker_url: str) -> redis_driver.Redis:
    """The broker, to look at and to empty."""
    return redis_driver.Redis.from_url(broker_url)


def beat(name: str, boot: str) -> None:
    """A heartbeat of a node, now."""
    in_transaction(
        clients.engine(),
        lambda c: nodes.beat(c, name=name, boot=boot, role="worker", queues=["imports"], host="h", pid=1),
    )


def lost_claim(run_id: str, job_no: int, *, worker: str = "w", boot: str = "b" * 8, extra: str = "") -> None:
    """A claim whose lease ran out a moment ago."""
    execute(
        "UPDATE jobs SET state = 'running', claim_token = REPEAT('a', 32), claims = claims + 1, worker = :w, worker_boot = :b,"
        f" claimed_at = NOW(6) - INTERVAL 9 SECOND, lease_until = NOW(6) - INTERVAL 1 SECOND {extra}"
        " WHERE run_id = :r AND job_no = :n",
        r=run_id,
        n=job_no,
        w=worker,
        b=boot,
    )


def test_starts_without_a_message_are_published_and_each_less_often(dispatcher: Dispatcher) -> None:
    """A requested row is published when its message is due, and the next time later."""
    run_id = request(KEYED, n=1)
    dispatcher.publish_starts()
    assert queue_length("control") == 0, "its own message has five seconds"
    execute("UPDATE runs SET publish_due_at = NOW(6)")
    dispatcher.publish_starts()
    assert queue_length("control") == 1
    execute("UPDATE runs SET publish_due_at = NOW(6)")
    dispatcher.publish_starts()
    assert queue_length("control") == 1, "the queue is not shorter than the requested rows"
    assert query("SELECT publishes FROM runs WHERE run_id = :r", r=run_id) == [(1,)]


def test_starts_that_the_broker_did_not_take_are_due_again_at_once(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is down at the wrong moment costs a round, not a minute."""
    request(KEYED, n=1)
    execute("UPDATE runs SET publish_due_at = NOW(6)")
    monkeypatch.setattr("tasks.dispatcher.publish_start", lambda *_, **__: False)
    dispatcher.publish_starts()
    assert query("SELECT publish_due_at <= NOW(6) FROM runs") == [(1,)]


def test_a_start_that_is_not_to_run_yet_is_left_alone(dispatcher: Dispatcher) -> None:
    """not_before is kept in the row."""
    request(KEYED, n=1)
    execute("UPDATE runs SET not_before = NOW(6) + INTERVAL 1 HOUR, publish_due_at = NOW(6) + INTERVAL 1 HOUR")
    dispatcher.publish_starts()
    assert queue_length("control") == 0


def test_a_crashed_child_counts_a_crash_and_the_job_goes_out_again(dispatcher: Dispatcher) -> None:
    """Its node was seen after the lease: a crash. The job is out again in the same round, with a message."""
    run_id = planned(KEYED, n=1)
    lost_claim(run_id, 1)
    beat("w", "b" * 8)
    dispatcher.put_back_lost_claims()
    row = job(run_id, 1)
    assert (row.state, row.crashes, row.lost_nodes, row.attempts) == ("queued", 1, 0, 0)
    assert query("SELECT outcome FROM job_attempts WHERE job_no = 1") == [("crashed",)]


@pytest.mark.parametrize("boot", [None, "c" * 8])
def test_a_lost_node_counts_apart(dispatcher: Dispatcher, boot: str | None) -> None:
    """A node that is gone, or came back as another incarnation, is no crash of the job."""
    run_id = planned(KEYED, n=1)
    lost_claim(run_id, 1)
    if boot:
        beat("w", boot)
    dispatcher.put_back_lost_claims()
    row = job(run_id, 1)
    assert (row.state, row.crashes, row.lost_nodes) == ("queued", 0, 1)


def test_too_many_crashes_are_a_dead_letter(dispatcher: Dispatcher) -> None:
    """After max_crashes the job is dead as worker_lost, and the run goes on."""
    run_id = planned(KEYED, n=2)
    for _ in range(3):
        lost_claim(run_id, 1)
        beat("w", "b" * 8)
        dispatcher.put_back_lost_claims()
    assert job(run_id, 1).state == "dead"
    assert query("SELECT error_class, crashes FROM dead_letters") == [("worker_lost", 2)]
    work_off(KEYED, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED


def test_a_lease_that_was_renewed_meanwhile_is_not_taken(dispatcher: Dispatcher) -> None:
    """The reaper's UPDATE looks at the lease again."""
    run_id = planned(KEYED, n=1)
    lost_claim(run_id, 1)
    (lost,) = in_transaction(clients.engine(), lambda c: reap.find_lost(c, "keyed", 3))
    execute("UPDATE jobs SET lease_until = NOW(6) + INTERVAL 3 SECOND WHERE job_no = 1")
    dispatcher._put_back(KEYED, lost)
    assert job(run_id, 1).state == "running"


def test_no_lease_is_judged_right_after_mysql_came_back(dispatcher: Dispatcher) -> None:
    """Workers were cut off as well: they get one full lease to renew."""
    run_id = planned(KEYED, n=1)
    lost_claim(run_id, 1)
    dispatcher._connected_at = time.monotonic()
    dispatcher.put_back_lost_claims()
    assert job(run_id, 1).state == "running"


def test_due_retries_go_out_into_a_free_window(dispatcher: Dispatcher) -> None:
    """A retry whose time has come is let out; a run never has more out than its window."""
    run_id = planned(KEYED, n=10)
    assert len(queued(run_id)) == 4
    execute("UPDATE jobs SET state = 'done' WHERE job_no = 1")
    dispatcher.fill_windows()
    assert queued(run_id) == [2, 3, 4, 5]


def test_a_flushed_redis_puts_every_queued_job_back_and_out(dispatcher: Dispatcher, broker: redis_driver.Redis) -> None:
    """No epoch key: all messages are gone, so all queued jobs are published again within a round or two."""
    run_id = planned(KEYED, n=4)
    assert queue_length("imports") == 4 + 1
    broker.flushall()
    dispatcher.round()
    assert queued(run_id) == [1, 2, 3, 4]
    assert queue_length("imports") == 4


def test_one_lost_message_is_sent_again_and_no_storm_is_made(
    dispatcher: Dispatcher, broker: redis_driver.Redis
) -> None:
    """As many are published again as messages are missing, with a growing delay each."""
    run_id = planned(KEYED, n=4)
    broker.delete("imports")
    dispatcher.publish_unheard_jobs()
    assert queue_length("imports") == 0, "a message has two seconds"
    execute("UPDATE jobs SET queued_at = NOW(6) - INTERVAL 3 SECOND WHERE state = 'queued'")
    dispatcher.publish_unheard_jobs()
    assert queue_length("imports") == 4
    execute("UPDATE jobs SET queued_at = NOW(6) - INTERVAL 3 SECOND WHERE state = 'queued'")
    dispatcher.publish_unheard_jobs()
    assert queue_length("imports") == 4
    work_off(KEYED, run_id)
    assert query("SELECT COUNT(*), COUNT(DISTINCT job_no) FROM effects") == [(4, 4)]


def test_a_cancelling_run_is_cleared_and_counted(dispatcher: Dispatcher) -> None:
    """Open jobs are cancelled, the run is cancelled once none is in a worker's hands."""
    run_id = planned(KEYED, n=8)
    run_jobs_of_one = query("SELECT COUNT(*) FROM jobs WHERE state = 'queued'")
    assert run_jobs_of_one == [(4,)]
    execute(
        "UPDATE jobs SET state = 'running', claim_token = REPEAT('a', 32), lease_until = NOW(6) + INTERVAL 9 SECOND"
        " WHERE job_no = 1"
    )
    execute("UPDATE runs SET status = 'cancelling'")
    dispatcher.clear_ended_runs()
    assert run_of(run_id).status is RunStatus.CANCELLING
    execute("UPDATE jobs SET lease_until = NOW(6) - INTERVAL 1 SECOND WHERE job_no = 1")
    dispatcher.clear_ended_runs()
    run = run_of(run_id)
    assert (run.status, run.jobs_cancelled, run.jobs_open) == (RunStatus.CANCELLED, 8, 0)


def test_two_dispatchers_do_each_thing_once(dispatcher: Dispatcher) -> None:
    """Rounds at the same time count one crash and let nothing out twice."""
    other = Dispatcher()
    other.round()
    other._connected_at = 0.0
    run_id = planned(KEYED, n=8)
    lost_claim(run_id, 1)
    beat("w", "b" * 8)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda d: [d.round() for _ in range(3)], (dispatcher, other)))
    row = job(run_id, 1)
    assert row.crashes == 1
    assert len(queued(run_id)) <= 5


def test_a_step_that_fails_does_not_stop_the_others(dispatcher: Dispatcher) -> None:
    """The rounds go on, whatever one step meets."""
    seen: list[str] = []

    def broken() -> None:
        raise ZeroDivisionError

    def fine() -> None:
        seen.append("fine")

    dispatcher.steps = (broken, fine)
    dispatcher.round()
    assert seen == ["fine"]


def test_work_of_kinds_without_a_key_is_found_too(dispatcher: Dispatcher) -> None:
    """Nothing in the sweeps needs an admission key."""
    run_id = admitted(FREE, n=2)
    run_jobs(FREE, run_id, 0, "w")
    execute("UPDATE jobs SET state = 'pending'  WHERE job_no > 0")
    dispatcher.fill_windows()
    assert queued(run_id) == [1, 2]


def test_a_lost_planner_is_replaced_and_what_it_wrote_waits(dispatcher: Dispatcher) -> None:
    """Job 0 goes out again, whatever lies half planned; no half-planned job does."""
    run_id = admitted(KEYED, n=6)
    execute(
        "INSERT INTO jobs (run_id, job_no, role, state, payload, due_at)"
        " SELECT :r, seq, 'work', 'pending', '{}', NOW(6) - INTERVAL 5 SECOND FROM seq_1_to_50",
        r=run_id,
    )
    lost_claim(run_id, 0)
    beat("w", "b" * 8)
    dispatcher.round()
    dispatcher.round()
    assert queued(run_id) == [0]
    work_off(KEYED, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert query("SELECT COUNT(*) FROM effects") == [(6,)]


def test_nodes_that_were_killed_are_forgotten_after_a_day(dispatcher: Dispatcher) -> None:
    """A row that nobody beats for does not stay for ever; a living one does."""
    beat("gone", "b" * 8)
    execute("UPDATE nodes SET heartbeat_at = NOW(6) - INTERVAL 2 DAY")
    beat("alive", "b" * 8)
    dispatcher._reported_at = 0.0
    dispatcher.report()
    assert query("SELECT name FROM nodes") == [("alive",)]
