"""The example of a fifth kind of job, from the outbox to a real HTTP server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from examples.webhooks import outbox
from examples.webhooks.kind import DELIVER_WEBHOOKS
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import admit, clients
from tasks.dispatcher import Dispatcher
from tasks.errors import RunRefused
from tasks.kinds import Backoff
from tasks.registry import kinds
from tests.http_endpoint import Endpoint, endpoint
from tests.integration.machinery import execute, job, planned, query, queued, run_of, work_off
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("machinery")

AT_ONCE = replace(DELIVER_WEBHOOKS, backoff=Backoff(max_attempts=3, base_s=0, cap_s=0))


@pytest.fixture(autouse=True)
def registered(machinery: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kind is registered as a site would do it, and its table is there."""
    monkeypatch.setenv("HOLDFAST_KINDS", "examples.webhooks.kind:DELIVER_WEBHOOKS")
    clients.reset()
    kinds.cache_clear()
    execute(outbox.CREATE_TABLE)
    yield
    monkeypatch.undo()
    clients.reset()
    kinds.cache_clear()


@pytest.fixture
def server() -> Iterator[Endpoint]:
    """The receiver."""
    with endpoint() as running:
        yield running


def add(count: int) -> list[str]:
    """Write webhooks into the outbox; their event ids."""
    events = [str(uuid.uuid4()) for _ in range(count)]

    def steps(connection: Connection) -> None:
        for number, event_id in enumerate(events):
            outbox.add(connection, event_id=event_id, endpoint_id="e1", body=f'{{"n": {number}}}')

    in_transaction(clients.engine(), steps)
    return events


def start(server: Endpoint) -> str:
    return planned(AT_ONCE, endpoint_id="e1", url=server.url)


def let_due_jobs_out(run_id: str) -> None:
    """As the dispatcher does, once their time has come."""

    def out() -> bool:
        dispatcher.fill_windows()
        return bool(queued(run_id))

    dispatcher = Dispatcher()
    wait_until(out)


def test_each_waiting_webhook_is_delivered_once(server: Endpoint) -> None:
    """One run delivers everything that waits, notes it in the outbox, and a second run finds nothing to do."""
    events = add(5)
    run_id = start(server)
    work_off(AT_ONCE, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert [request.headers["Idempotency-Key"] for request in server.received] == events
    assert [request.body for request in server.received] == [b'{"n": %d}' % n for n in range(5)]
    assert query("SELECT status, COUNT(*) FROM demo_webhooks WHERE delivered_at IS NOT NULL GROUP BY status") == [
        (200, 5)
    ]
    again = start(server)
    assert run_of(again).status is RunStatus.COMPLETED
    assert len(server.received) == 5


def test_a_second_run_of_an_endpoint_is_refused_while_the_first_is_active(server: Endpoint) -> None:
    """Two runs of one endpoint would send the same webhooks at the same time."""
    add(1)
    first = start(server)
    with pytest.raises(RunRefused) as refused:
        admit("webhooks", endpoint_id="e1", url=server.url)
    assert refused.value.active_run_id == first
    assert admit("webhooks", endpoint_id="e2", url=server.url).run().status is RunStatus.PLANNING


def test_a_server_error_is_tried_again_with_the_same_key(server: Endpoint) -> None:
    """After a 500 and after a lost answer the receiver gets the same idempotency key, and the outbox one delivery."""
    (event,) = add(1)
    server.answers = [(500, {}), (0, {})]
    run_id = start(server)
    for _ in range(3):
        work_off(AT_ONCE, run_id)
        if run_of(run_id).ended:
            break
        let_due_jobs_out(run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert [request.headers["Idempotency-Key"] for request in server.received] == [event] * 3
    assert job(run_id, 1).attempts == 2


def test_retry_after_of_a_server_error_is_waited_for(server: Endpoint) -> None:
    """However short the backoff, the next try comes no earlier than the receiver asked for."""
    add(1)
    server.answers = [(503, {"Retry-After": "2"})]
    run_id = start(server)
    asked = time.monotonic()
    work_off(AT_ONCE, run_id)
    let_due_jobs_out(run_id)
    assert time.monotonic() - asked >= 1.9
    work_off(AT_ONCE, run_id)
    assert run_of(run_id).jobs_done == 1


def test_too_many_requests_uses_no_attempt(server: Endpoint) -> None:
    """A 429 is not a failure: more of them than there are attempts leave the job alive."""
    add(1)
    server.answers = [(429, {"Retry-After": "0"})] * 4
    run_id = start(server)
    while server.answers:
        work_off(AT_ONCE, run_id)
        let_due_jobs_out(run_id)
    work_off(AT_ONCE, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert (job(run_id, 1).attempts, job(run_id, 1).claims) == (0, 5)


def test_a_webhook_that_is_refused_for_good_is_a_dead_letter(server: Endpoint) -> None:
    """A 410 is given up at once, with the reason, and its neighbours are delivered."""
    add(3)
    server.answers = [(200, {}), (410, {})]
    run_id = start(server)
    work_off(AT_ONCE, run_id)
    run = run_of(run_id)
    assert (run.status, run.jobs_done, run.jobs_dead) == (RunStatus.COMPLETED, 2, 1)
    assert query("SELECT error_class, error, attempts FROM dead_letters") == [
        ("Permanent", "the endpoint answered 410", 1)
    ]
    assert len(server.received) == 3


def test_nothing_is_sent_once_the_run_was_ended(server: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel that comes while a delivery is being prepared holds it back: the checkpoint does not commit."""
    add(1)
    run_id = start(server)
    begin = outbox.begin

    def cancelled_meanwhile(connection: Connection, webhook_id: int) -> outbox.Webhook | None:
        execute("UPDATE runs SET status = 'cancelling' WHERE run_id = :r", r=run_id)
        return begin(connection, webhook_id)

    monkeypatch.setattr(outbox, "begin", cancelled_meanwhile)
    work_off(AT_ONCE, run_id)
    assert server.received == []
    assert job(run_id, 1).state == "cancelled"
    assert query("SELECT tried_at, delivered_at FROM demo_webhooks") == [(None, None)]
