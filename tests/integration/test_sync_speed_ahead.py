"""The next page is asked for while this one is recorded; whatever goes wrong in between, a page counts once and in order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from locks.limits import RateLimiter
from runstate.audit import Actor
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.sync import ahead, cursors, gate, links
from tasks.sync.connections import SyncConnection
from tasks.sync.connector import RateLimited
from tasks.sync.effects import Scene
from tasks.sync.kind import SYNC
from tasks.sync.links import Pair
from tasks.sync.local import local_table
from tasks.sync.observe import observe, read_records
from tasks.sync.shared_gate import connection_key
from tests import sync_api
from tests.integration.machinery import execute, planned, query, queued, run_of, work_off
from tests.integration.sync_machinery import api, both_sides, items, outbox_rows, sync
from tests.sync_api import Api

__all__ = ["api"]

WHO = Actor("tester", "to see")


class _Died(BaseException):
    """The process died here: no handler of the machinery sees it."""


def three_pages(api: Api) -> None:
    api.page_size = 4
    for n in range(12):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)


def lists(api: Api) -> int:
    return sum(1 for op, _ in api.log if op == "list")


@pytest.fixture(autouse=True)
def nothing_ahead() -> None:
    """What another test left behind is not this one's."""
    ahead._ahead.clear()


def fetched() -> None:
    """Wait until the page that was asked for ahead is there."""
    (there,) = ahead._ahead.values()
    assert there.call._ended.wait(10)


def while_recording(monkeypatch: pytest.MonkeyPatch, page: int, do: Callable[[], object]) -> None:
    """Have something happen while the n-th page (from 1) is recorded, once."""
    moved = [0]
    real = cursors.move

    def move(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        moved[0] += 1
        if moved[0] == page:
            do()

    monkeypatch.setattr(cursors, "move", move)


def test_the_next_page_is_asked_for_while_this_one_is_recorded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the record of the first page ends, the second has been asked for; no page is asked for twice."""
    three_pages(api)
    second = threading.Event()
    api.before = lambda op, cursor: second.set() if op == "list" and cursor != "None" else None
    seen: list[bool] = []
    while_recording(monkeypatch, 1, lambda: seen.append(second.wait(10)))
    sync()
    assert seen == [True]
    assert lists(api) == 3
    local, remote = both_sides(api)
    assert local == remote and len(local) == 12


def test_a_page_that_nobody_came_for_in_time_is_asked_for_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was fetched ahead is forgotten, so that no memory and no old page is kept."""
    three_pages(api)
    monkeypatch.setattr(ahead, "KEEP_S", 0.0)

    def forgotten() -> None:
        fetched()
        (there,) = ahead._ahead.values()
        while there.call._result:
            threading.Event().wait(0.01)

    while_recording(monkeypatch, 1, forgotten)
    sync()
    assert lists(api) >= 4
    local, remote = both_sides(api)
    assert local == remote and len(local) == 12


def test_a_page_that_was_fetched_for_another_spot_is_not_taken(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's recovery raised the fence: the page is asked for again under the new one."""
    three_pages(api)
    spots: list[ahead.Spot] = []
    real = ahead.fetch

    def fetch(spot: ahead.Spot, *rest: Any) -> None:
        spots.append(spot)
        real(ahead.Spot(spot.run_id, spot.fence - 1, spot.cursor, spot.full), *rest)

    monkeypatch.setattr(ahead, "fetch", fetch)
    sync()
    assert len(spots) == 2
    assert lists(api) == 5
    assert len(items()) == 12


def test_a_process_that_dies_between_fetching_and_recording_loses_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one begins with the page that was not recorded, whatever the dead one had of the next."""
    three_pages(api)

    def die() -> None:
        fetched()
        raise _Died

    while_recording(monkeypatch, 2, die)
    run_id = planned(SYNC, connection="memory", kind="items")
    with pytest.raises(_Died):
        work_off(SYNC, run_id)
    assert len(items()) == 4
    # What the next process has: nothing of this one's memory.
    ahead._ahead.clear()
    api.put("a9", stock=100)
    execute(
        "UPDATE jobs SET state = 'queued', claim_token = NULL, lease_until = NULL WHERE run_id = :r AND state = 'running'",
        r=run_id,
    )
    work_off(SYNC, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    local, remote = both_sides(api)
    assert local == remote and len(local) == 12
    assert query("SELECT COUNT(*) FROM sync_links") == [(12,)]


def test_a_pause_stops_the_asking(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page may be under way when it comes; none is asked for after it, and what was edited meanwhile arrives."""
    three_pages(api)

    def pause() -> None:
        fetched()
        control.pause(run_id, WHO)

    while_recording(monkeypatch, 1, pause)
    run_id = planned(SYNC, connection="memory", kind="items")
    work_off(SYNC, run_id)
    assert run_of(run_id).status is RunStatus.PAUSED
    assert lists(api) == 2
    assert len(items()) == 4
    api.put("a6", stock=100)
    control.resume(run_id, WHO)
    for _ in range(20):
        execute("UPDATE jobs SET state = 'queued', due_at = NOW(6) WHERE run_id = :r AND state = 'pending'", r=run_id)
        work_off(SYNC, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    local, remote = both_sides(api)
    assert local == remote and len(local) == 12


def test_what_the_api_answers_to_the_asking_ahead_is_heard(api: Api) -> None:
    """A 429 with Retry-After parks the job; the page is not asked for a second time to hear it again."""
    three_pages(api)

    def limited(op: str, cursor: str) -> None:
        if op == "list" and cursor != "None":
            raise RateLimited("429", retry_after_s=60, status=429)

    api.before = limited
    run_id = planned(SYNC, connection="memory", kind="items")
    work_off(SYNC, run_id)
    assert lists(api) == 2
    assert len(items()) == 4 and queued(run_id) == []
    waits = query(
        "SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at), attempts FROM jobs WHERE run_id = :r AND state = 'pending'",
        r=run_id,
    )
    assert len(waits) == 1 and 50 <= waits[0][0] <= 60 and waits[0][1] == 0


def test_the_asking_ahead_passes_the_gate(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was paused meanwhile gets no request; its job waits as long as the gate says."""
    three_pages(api)
    passed: list[str] = []

    def ask(op: str, cursor: str) -> None:
        gate.before_request()
        passed.append(cursor)
        if cursor == "None":
            RateLimiter(clients.redis()).pause(connection_key("memory"), 60, "Retry-After")

    api.before = ask
    run_id = planned(SYNC, connection="memory", kind="items")
    work_off(SYNC, run_id)
    assert passed == ["None"]
    assert lists(api) == 3, "asked for ahead, and once more by the job, which hears how long it still is"
    due = query(
        "SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at) FROM jobs WHERE run_id = :r AND state = 'pending'", r=run_id
    )
    assert len(due) == 1 and 50 <= due[0][0] <= 60


def test_what_was_learnt_after_the_asking_counts_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker takes in a newer state between the fetching of a page and its record: the page does not undo it."""
    three_pages(api)
    sync()
    for n in range(12):
        api.put(f"a{n}", price="2.00")
    api.log.clear()

    def newer() -> None:
        fetched()
        run_aside(take_in_newer)

    def take_in_newer() -> None:
        api.put("a6", stock=100)
        api.listing_hides.add("a6")
        read = read_records(scene(api), [api.records["a6"]])
        in_transaction(clients.engine(), lambda c: observe(c, scene(api), read, read_at=links.now(c)))

    while_recording(monkeypatch, 1, newer)
    sync()
    stocks = {name: stock for name, _, stock in items().values()}
    assert stocks["n6"] == 100
    written = query("SELECT after_state FROM sync_audit WHERE side = 'local' AND remote_id = 'a6' ORDER BY id")
    assert '"stock":6' not in " ".join(row[0] for row in written[1:])
    assert outbox_rows() == []


def scene(api: Api) -> Scene:
    connection: SyncConnection = sync_api.CONNECTION
    kind = connection.kinds[0]
    return Scene(Pair("memory", "items"), kind, local_table(clients.engine(), kind), api, "0" * 36)


def run_aside(do: Callable[[], object]) -> None:
    """In another thread, as another process would: the transaction of this one is open."""
    thread = threading.Thread(target=do)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
