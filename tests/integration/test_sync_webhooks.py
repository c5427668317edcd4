"""Webhooks: checked, taken once, turned into readings of their records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runstate.statuses import RunStatus
from tasks.settings import settings
from tasks.sync.signature import GITHUB, sign
from tasks.sync.webhook_kind import WEBHOOK
from tests.integration.machinery import planned, query, run_of, work_off
from tests.integration.sync_machinery import api, change, items, sync
from tests.sync_api import Api

__all__ = ["api"]


def deliver(remote_id: str, *, event_id: str = "e1", secret: str = "s3cret") -> str:
    """A delivery as GitHub signs it; the run's id."""
    body = json.dumps({"id": remote_id}).encode()
    headers = sign(GITHUB, secret, body, event_id=event_id)
    run_id = planned(WEBHOOK, connection="memory", headers=headers, body=body.decode())
    work_off(WEBHOOK, run_id)
    return run_id


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
