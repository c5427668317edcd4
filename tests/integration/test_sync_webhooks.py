"""Webhooks: checked, taken once, turned into readings of their records."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from runstate.audit import Actor
from runstate.letters import Filter
from runstate.statuses import RunStatus
from tasks import control
from tasks.admission import admit_run
from tasks.envelope import run_jobs
from tasks.settings import settings
from tasks.sync.connections import forget_connectors
from tasks.sync.signature import GITHUB, STRIPE, Scheme, sign
from tasks.sync.webhook import Webhook
from tasks.sync.webhook_kind import WEBHOOK
from tests import sync_api
from tests.integration.machinery import admitted, execute, planned, query, run_of, work_off
from tests.integration.sync_machinery import api, change, items, sync
from tests.sync_api import Api

__all__ = ["api"]


def deliver(remote_id: str, *, event_id: str = "e1", secret: str = "s3cret") -> str:
    """A delivery as GitHub signs it; the run's id."""
    return deliver_body(json.dumps({"id": remote_id}).encode(), event_id=event_id, secret=secret)


def deliver_body(body: bytes, *, event_id: str = "e1", secret: str = "s3cret", scheme: Scheme = GITHUB) -> str:
    run_id = planned(WEBHOOK, **delivery(body, event_id=event_id, secret=secret, scheme=scheme))
    work_off(WEBHOOK, run_id)
    return run_id


def delivery(body: bytes, *, event_id: str, secret: str = "s3cret", scheme: Scheme = GITHUB) -> dict[str, Any]:
    """The arguments of the start."""
    headers = sign(scheme, secret, body, event_id=event_id, timestamp=1_795_348_800)
    return {"connection": "memory", "headers": headers, "body": body.decode()}


def results(run_id: str) -> list[Any]:
    rows = query("SELECT result FROM jobs WHERE run_id = :r AND job_no > 0 ORDER BY job_no", r=run_id)
    return [json.loads(row[0]) for row in rows]


@pytest.fixture(autouse=True)
def secret(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_WEBHOOK_SECRET_MEMORY", "s3cret")
    settings.cache_clear()


def test_a_delivery_has_its_record_read_and_taken_in_once(api: Api) -> None:
    """What it says is not believed, only read; sent again, it changes nothing."""
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    row = next(iter(items()))
    api.put("a", stock=2)
    assert run_of(deliver("a")).status is RunStatus.COMPLETED
    assert items()[row][2] == 2
    api.log.clear()
    deliver("a")
    assert api.log == []
    deliver("a", event_id="e2")
    assert api.log == [("get", "a")]


def test_a_long_delivery_is_taken_as_it_came(api: Api) -> None:
    """A big order of a shop: longer than a run's row takes, signed over every byte."""
    api.put("a", name="n", price="1.00", stock=1)
    body = json.dumps({"id": "a", "lines": ['\u00e9 \U0001f600 \\ "' * 10] * 5_000}, ensure_ascii=False).encode()
    assert len(body) > 600_000
    assert run_of(deliver_body(body)).status is RunStatus.COMPLETED
    assert len(items()) == 1


def test_a_delivery_meets_an_edit_of_the_row(api: Api) -> None:
    """Both survive, at once."""
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    row = next(iter(items()))
    change("UPDATE items SET price = 5 WHERE id = :i", row, i=row)
    api.put("a", stock=2)
    deliver("a")
    assert items()[row] == ("n", "5.00", 2) and api.live()["a"] == {"name": "n", "price": "5.00", "stock": 2}


def test_a_delivery_that_nobody_signed_fails_and_reads_nothing(api: Api) -> None:
    """The run says why, without the secret."""
    run = run_of(deliver("a", secret="guessed"))
    assert run.status is RunStatus.FAILED and "no signature fits" in (run.reason or "")
    assert api.log == []


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b'{"id": null}', b'{"id": "\\ud800"}', b"[" * 40_000])
def test_a_signed_body_that_names_no_record_fails_with_its_kind_and_reason(api: Api, body: bytes) -> None:
    """At once and for good: the run says who could not read it, and no worker tries it again."""
    run = run_of(deliver_body(body))
    assert run.status is RunStatus.FAILED
    assert "webhook of connection 'memory': items: " in (run.reason or "")
    assert query("SELECT attempts FROM jobs WHERE run_id = :r", r=run.run_id) == [(1,)]
    assert api.log == []


def test_an_old_delivery_is_refused_by_the_databases_clock(api: Api) -> None:
    """Signed long ago: a captured one, sent again."""
    api.webhook = Webhook(STRIPE)
    run = run_of(deliver_body(b'{"id": "a"}', scheme=STRIPE))
    assert run.status is RunStatus.FAILED and "signed more than 300 s away" in (run.reason or "")
    assert api.log == []


def test_kinds_that_do_not_understand_a_delivery_do_not_stop_those_that_do(api: Api) -> None:
    """They are named, with the reason, in a result of the run."""
    other = Api(webhook=Webhook(GITHUB, ids_at="order.id"))
    orders = replace(sync_api.KIND, name="orders", connector=lambda _: other)
    object.__setattr__(sync_api.CONNECTION, "kinds", (orders, *sync_api.CONNECTION.kinds))
    api.put("a", name="n", price="1.00", stock=1)
    run_id = deliver("a")
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert results(run_id)[0] == {"ignored": {"orders": "no record's id stands at 'order.id' of the body"}}
    assert list(items().values()) == [("n", "1.00", 1)] and other.log == []


def test_a_delivery_that_could_not_be_read_is_read_when_its_letter_is_replayed(api: Api) -> None:
    """The replay is a run of its own, and the delivery counts as taken by the first one: it is read all the same."""
    api.put("a", name="n", price="1.00", stock=1)

    def broken(op: str, _: str) -> None:
        raise RuntimeError("a bug in the connector")

    api.before = broken
    run_id = deliver("a")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 DAY, attempts = 7 WHERE run_id = :r AND job_no = 1", r=run_id)
    execute("UPDATE jobs SET state = 'queued' WHERE run_id = :r AND job_no = 1", r=run_id)
    work_off(WEBHOOK, run_id)
    assert query("SELECT status FROM dead_letters") == [("dead",)]
    api.before = lambda *_: None
    (replayed,) = control.replay(Filter(run_id=run_id), Actor("ann", "mended")).replays
    again = str(replayed.replay_run_id)
    admit_run(WEBHOOK, again)
    run_jobs(WEBHOOK, again, 0, "test")
    work_off(WEBHOOK, again)
    assert list(items().values()) == [("n", "1.00", 1)]
    assert query("SELECT status FROM dead_letters") == [("replayed",)]


def test_a_delivery_that_comes_twice_at_once_is_read_once(api: Api) -> None:
    """Two workers, two runs: while one reads, the other finds the entity held, waits, and has nothing left to do."""
    api.put("a", name="n", price="1.00", stock=1)
    first, second = (planned(WEBHOOK, **delivery(b'{"id": "a"}', event_id="e1")) for _ in range(2))
    reading, other_done = threading.Event(), threading.Event()

    def before(op: str, _: str) -> None:
        reading.set()
        assert other_done.wait(10)

    api.before = before
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work_off, WEBHOOK, first)
        assert reading.wait(10)
        work_off(WEBHOOK, second)
        waiting = query("SELECT state, attempts FROM jobs WHERE run_id = :r AND job_no = 1", r=second)
        other_done.set()
        running.result(10)
    assert [tuple(row) for row in waiting] == [("pending", 0)]
    execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND job_no = 1", r=second)
    work_off(WEBHOOK, second)
    assert api.log == [("get", "a")]
    assert results(second) == [{"taken_before": 1}]


def test_a_delivery_of_a_connection_that_the_worker_does_not_know_fails_by_name(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Declared where it came in, and not here: no retries, and the message says where to declare it."""
    run_id = admitted(WEBHOOK, **delivery(b'{"id": "a"}', event_id="e1"))
    monkeypatch.setenv("HOLDFAST_SYNC", "")
    settings.cache_clear()
    forget_connectors()
    run_jobs(WEBHOOK, run_id, 0, "test")
    run = run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert "there is no connection 'memory' here" in (run.reason or "") and "HOLDFAST_SYNC" in (run.reason or "")


def test_no_secret_is_kept_or_shown(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Not in the start, its jobs, letters, the log, or the audit: neither ours, nor what a proxy put into the headers."""
    caplog.set_level(logging.DEBUG)
    start = delivery(b'{"id": "a"}', event_id="e1")
    start["headers"] |= {"Authorization": "Bearer s3cret", "X-Gitlab-Token": "s3cret"}
    work_off(WEBHOOK, planned(WEBHOOK, **start))
    deliver("a", secret="guessed")
    for table in ("runs", "jobs", "job_attempts", "dead_letters", "audit_log", "sync_deliveries"):
        assert "s3cret" not in str(query(f"SELECT * FROM {table}")), table
    assert "s3cret" not in caplog.text


def test_a_record_that_a_webhook_announces_before_its_create_is_recorded_makes_no_second_row(api: Api) -> None:
    """Its own intent is known by its id; it is read again once the create is settled."""
    seen: list[str] = []

    def after(op: str, remote_id: str) -> None:
        if op == "create":
            seen.append(remote_id)
            deliver(remote_id)

    api.after = after
    change("INSERT INTO items (id, name) VALUES (5, 'x')", 5)
    sync()
    sync()
    assert len(seen) == 1 and len(items()) == 1 and len(api.live()) == 1
    assert query("SELECT COUNT(*) FROM sync_links") == [(1,)]
    assert query("SELECT COUNT(*) FROM sync_outbox") == [(0,)]


def test_an_answer_that_was_overtaken_is_not_taken_for_the_latest_state(api: Api) -> None:
    """Somebody edits the record right after our write, and a webhook takes that in before our answer is recorded."""
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    row = next(iter(items()))
    change("UPDATE items SET stock = 5 WHERE id = :i", row, i=row)
    once = [1]

    def after(op: str, _: str) -> None:
        if op == "update" and once:
            once.clear()
            api.put("a", price="8.00")
            deliver("a", event_id="late")

    api.update = _answering_first(api, after)  # type: ignore[method-assign]
    sync(direction="push")
    assert items()[row] == ("n", "8.00", 5)
    sync()
    assert items()[row] == ("n", "8.00", 5) and api.live()["a"] == {"name": "n", "price": "8.00", "stock": 5}
    assert query("SELECT COUNT(*) FROM sync_audit WHERE side = 'local' AND action = 'update'") == [(1,)]


def _answering_first(api: Api, after: Any) -> Any:
    """``update`` whose answer is what it was before ``after`` changed the record."""
    real = api.update

    def update(remote_id: str, fields: Any, *, if_version: str | None) -> Any:
        answer = real(remote_id, fields, if_version=if_version)
        after("update", remote_id)
        return answer

    return update
