"""The front door: what .delay(), enqueue(), admit() and a start sent by name do."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from celery import chain, chord, group
from celery.worker.request import Request

import tasks
from runstate.statuses import RunStatus
from stack.private import Servers
from tasks import clients
from tasks.celery import app
from tasks.errors import BadArguments, DatabaseDown, RunRefused
from tasks.publish import queue_length
from tasks.result import RunFailed, StartResult
from tasks.revoke import StartRequest
from tests.integration.machinery import admitted, execute, planned, query, run_of, work_off
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")

BOUND_S = 3.0
"""What the promise allows a producer to wait when something is down."""


def deliver(run_id: str, **kwargs: object) -> str:
    """What a control worker does with the start's message."""
    task = tasks.start_keyed
    task.push_request(id=run_id, callbacks=None, chain=None)
    try:
        return str(task.run(**kwargs))
    finally:
        task.pop_request()


def test_delay_records_the_run_then_sends_its_message() -> None:
    """The row is there when .delay() returns, under the id of the Celery message."""
    result = tasks.start_keyed.delay(n=2)
    run = result.run()
    assert (run.status, run.kind, run.admission_key, run.args) == (RunStatus.REQUESTED, "keyed", "k", {"n": 2})
    assert queue_length("control") == 1
    assert deliver(result.run_id) == result.run_id
    assert result.run().status is RunStatus.PLANNING


def test_the_result_reads_the_run() -> None:
    """get waits for the end and returns the run's result; state, ready and failures follow the row."""
    result = tasks.start_finishing.delay(n=2)
    assert (result.state, result.ready()) == ("PENDING", False)
    from tasks.admission import admit_run
    from tasks.registry import kind_named

    kind = kind_named("finishing")
    admit_run(kind, result.run_id)
    assert result.state == "STARTED"
    work_off(kind, result.run_id)
    assert result.get(timeout=1) == {"done": 2}
    assert (result.state, result.ready(), result.successful()) == ("SUCCESS", True, True)


def test_get_of_a_refused_run_names_the_active_one() -> None:
    """A refusal is raised to whoever waits for it."""
    active = planned(KEYED, n=1)
    result = tasks.start_keyed.delay(n=1)
    assert deliver(result.run_id).startswith("refused: already running")
    with pytest.raises(RunRefused) as refused:
        result.get(timeout=1)
    assert refused.value.active_run_id == active
    assert result.state == "REJECTED"


def test_get_of_a_failed_run_says_why() -> None:
    """The run's reason is the error."""
    run_id = planned(KEYED, plan_error="no such file")
    with pytest.raises(RunFailed, match="no such file"):
        StartResult(run_id, app=app).get(timeout=1)


def test_a_broker_that_is_down_delays_the_run_and_fails_nothing(servers: Servers) -> None:
    """.delay() returns within three seconds, the row is there, the dispatcher will publish it."""
    servers.valkey.kill()
    started = time.monotonic()
    result = tasks.start_keyed.delay(n=1)
    assert time.monotonic() - started < BOUND_S
    assert result.run().status is RunStatus.REQUESTED


def test_a_broker_that_hangs_delays_the_run_and_fails_nothing(servers: Servers) -> None:
    """A stopped Redis answers nothing and still accepts: .delay() does not wait for it."""
    tasks.start_free.delay(n=1)
    servers.valkey.freeze()
    try:
        started = time.monotonic()
        result = tasks.start_keyed.delay(n=1)
        assert time.monotonic() - started < BOUND_S
    finally:
        servers.valkey.thaw()
    assert result.run().status is RunStatus.REQUESTED


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_database_that_is_away_is_a_clear_error_soon(servers: Servers, how: str) -> None:
    """Nothing was accepted, and the producer hears it within three seconds, whether MySQL is down or hangs."""
    tasks.start_free.delay(n=1)
    getattr(servers.mariadb, how)()
    try:
        started = time.monotonic()
        with pytest.raises(DatabaseDown, match="was not accepted"):
            tasks.start_keyed.delay(n=1)
        assert time.monotonic() - started < BOUND_S
    finally:
        servers.mariadb.thaw() if how == "freeze" else servers.mariadb.start()


def test_enqueue_lives_and_dies_with_the_callers_transaction() -> None:
    """Rolled back with it: never there. Committed with it: the dispatcher publishes it."""
    with clients.engine().connect() as connection:
        tasks.start_keyed.enqueue(connection, n=1)
        connection.rollback()
    assert query("SELECT COUNT(*) FROM runs") == [(0,)]
    with clients.engine().connect() as connection:
        result = tasks.start_keyed.enqueue(connection, n=1)
        connection.commit()
    assert queue_length("control") == 0
    assert query("SELECT publish_due_at <= NOW(6) FROM runs WHERE run_id = :r", r=result.run_id) == [(1,)]


def test_admit_answers_at_once() -> None:
    """admit() returns an admitted run, or raises with the run that is in the way."""
    first = tasks.admit("keyed", n=1)
    assert first.run().status is RunStatus.PLANNING
    with pytest.raises(RunRefused) as refused:
        tasks.admit(KEYED, n=1)
    assert refused.value.active_run_id == first.run_id


def test_a_start_sent_by_name_is_written_down_at_admission() -> None:
    """A code base without ours sends only a name and arguments."""
    run_id = str(uuid.uuid4())
    deliver(run_id, n=3)
    run = run_of(run_id)
    assert (run.status, run.args, run.requested_by) == (RunStatus.PLANNING, {"n": 3}, "send_task")


def test_eta_and_countdown_are_kept_in_the_row() -> None:
    """The broker holds no timer, and an early message admits nothing."""
    result = tasks.start_keyed.apply_async(kwargs={"n": 1}, countdown=3600)
    assert queue_length("control") == 0
    deliver(result.run_id)
    assert result.run().status is RunStatus.REQUESTED
    with pytest.raises(BadArguments, match="time zone"):
        tasks.start_keyed.apply_async(kwargs={"n": 1}, eta=datetime.now())  # noqa: DTZ005
    later = tasks.start_keyed.apply_async(kwargs={"n": 1}, eta=datetime.now(UTC) + timedelta(hours=1))
    assert later.run().not_before is not None
    execute("UPDATE runs SET not_before = NOW(6) - INTERVAL 1 SECOND WHERE run_id = :r", r=result.run_id)
    deliver(result.run_id)
    assert result.run().status is RunStatus.PLANNING


def test_start_many_records_all_or_none() -> None:
    """A list of starts is one transaction."""
    results = tasks.start_many(tasks.start_free, [{"n": i} for i in range(20)])
    assert len({result.run_id for result in results}) == 20
    assert queue_length("control") == 20
    with pytest.raises(BadArguments):
        tasks.start_many(tasks.start_free, [{"n": 1}, {"n": object()}])
    assert query("SELECT COUNT(*) FROM runs") == [(20,)]


def test_canvas_is_kept_and_chords_are_refused() -> None:
    """A chain's continuation is in the row, so a start that is published again still has it; chords say why not."""
    chain(tasks.start_free.si(n=1), tasks.start_keyed.si(n=1)).apply_async()
    assert query("SELECT canvas LIKE '%start_keyed%' FROM runs WHERE kind = 'free'") == [(1,)]
    group(tasks.start_free.si(n=1), tasks.start_free.si(n=2)).apply_async()
    with pytest.raises(BadArguments, match="chord"):
        tasks.start_free.apply_async(kwargs={"n": 1}, chord=tasks.start_keyed.si(n=1))
    with pytest.raises(NotImplementedError, match="result backend"):
        chord([tasks.start_free.si(n=1), tasks.start_free.si(n=2)])(tasks.start_keyed.si(n=1))


def test_a_task_id_that_is_no_uuid_is_told() -> None:
    """The run id is the text of a UUID."""
    with pytest.raises(BadArguments, match="UUID"):
        tasks.start_keyed.apply_async(kwargs={"n": 1}, task_id="mine")


def test_the_same_task_id_twice_is_the_same_run() -> None:
    """A producer that sends again after a time-out makes no second run."""
    task_id = str(uuid.uuid4())
    assert {tasks.start_keyed.apply_async(kwargs={"n": 1}, task_id=task_id).run_id for _ in range(2)} == {task_id}
    assert admitted(FREE, n=0)


def test_revoking_a_start_cancels_its_run() -> None:
    """From the result at once; a start whose message meets a revoke in a worker, too."""
    result = tasks.start_keyed.delay(n=1)
    result.revoke()
    assert result.run().status is RunStatus.CANCELLED
    assert result.state == "REVOKED"
    revoked = tasks.start_keyed.delay(n=1)
    message = RevokedMessage(revoked.run_id)
    assert message.revoked()
    assert revoked.run().status is RunStatus.CANCELLED
    assert query("SELECT COUNT(*) FROM audit_log WHERE action = 'cancel'") == [(2,)]


class RevokedMessage(StartRequest):
    """A start's message that a worker has found among the revoked."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    @property
    def id(self) -> str:
        return self._run_id

    def revoked(self) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Request, "revoked", lambda _self: True)
            return bool(super().revoked())
