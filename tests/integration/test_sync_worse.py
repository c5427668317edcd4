"""The sync on the REST base, against an API of the worse kind: no ETags, seconds, flags, lost answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from runstate.runs import Run
from runstate.statuses import RunStatus
from tasks import clients
from tasks.sync.connections import forget_connectors
from tasks.sync.kind import SYNC
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.worse_api import WorseApi
from tests.worse_items import ROWS, address_of


@pytest.fixture
def api(machinery: None, worse: WorseApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorseApi]:
    """The API, empty, and an empty table ``worse_rows``."""
    monkeypatch.setenv("HOLDFAST_SYNC", "tests.worse_items:WORSE")
    monkeypatch.setenv("SYNC_CONNECTION_WORSE", address_of(worse))
    clients.reset()
    forget_connectors()
    execute(ROWS)
    yield worse
    forget_connectors()


def sync(**options: Any) -> Run:
    """One run, from start to end; it must complete."""
    run_id = planned(SYNC, connection="worse", kind="items", **options)
    work_off(SYNC, run_id)
    run = run_of(run_id)
    assert run.status is RunStatus.COMPLETED, run.reason
    return run


def sync_in_spite() -> None:
    """One run under faults, its retries at once."""
    run_id = planned(SYNC, connection="worse", kind="items", allow_deletes=True)
    work_off(SYNC, run_id)
    for _ in range(50):
        if run_of(run_id).ended:
            return
        execute("UPDATE jobs SET due_at = NOW(6), state = 'queued' WHERE run_id = :r AND state = 'pending'", r=run_id)
        work_off(SYNC, run_id)
    raise AssertionError(f"run {run_id} does not end")


def rows() -> list[tuple[str, str | None]]:
    return sorted((name, price) for name, price in query("SELECT name, CAST(price AS CHAR) FROM worse_rows"))


def records(api: WorseApi) -> list[tuple[str, str | None]]:
    return sorted((item["name"], item.get("price")) for item in api.live().values())


def test_both_sides_become_the_same(api: WorseApi) -> None:
    """Records and rows made, edited and deleted on either side arrive, also across pages; then nothing is written any more."""
    for number in range(120):
        api.create({"name": f"r{number}", "price": "1.50"})
    execute("INSERT INTO worse_rows (name, price) VALUES ('l1', 2.50), ('l2', NULL)")
    sync()
    assert rows() == records(api) and len(rows()) == 122
    api.edit(1, {"price": "9.99"})
    execute("UPDATE worse_rows SET name = 'renamed' WHERE name = 'r0'")
    execute("UPDATE worse_rows SET name = 'edited' WHERE name = 'r1'")
    execute("DELETE FROM worse_rows WHERE name = 'r2'")
    api.delete(4)
    sync()
    assert rows() == records(api) and len(rows()) == 120
    assert ("renamed", "9.99") in rows() and ("edited", "1.50") in rows()
    sync()
    api.forget_requests()
    sync()
    assert {seen.method for seen in api.requests()} == {"GET"}
    assert all(seen.path.startswith("/items?") for seen in api.requests())


def test_creates_whose_answers_are_lost_make_one_record_each(api: WorseApi) -> None:
    """A batch is done and nobody says so: its records are found by their references."""
    execute("INSERT INTO worse_rows (name) VALUES ('a'), ('b'), ('c')")
    api.faults.lose_answers = 1
    sync()
    assert rows() == records(api) and len(api.items) == 3


def test_a_piece_that_is_no_record_is_a_reject(api: WorseApi) -> None:
    """The records around it flow, and what it was is kept."""
    page = b'[{"name": "no id"}, {"id": 7, "name": "good", "date_modified": "2026-01-01T00:00:00", "deleted": false}]'
    api.faults.answers = [(200, {"X-Total-Pages": "1"}, page)]
    sync(direction="pull")
    assert rows() == [("good", None)]
    assert query("SELECT code, reason FROM sync_rejects") == [("no_record", "it has no id: id is null")]


def test_an_api_that_ignores_what_it_is_asked_deletes_nothing(api: WorseApi) -> None:
    """Ignored filters, hidden totals, deletes that no listing tells, an empty full list: rows stay or go by what is true."""
    for number in range(150):
        api.create({"name": f"r{number}"})
    api.faults.hide_totals = api.faults.ignore_modified_after = True
    api.faults.list_deleted = False
    sync()
    for item in (3, 77, 149):
        api.delete(item)
    sync()
    assert len(rows()) == 150
    sync(full=True)
    assert rows() == records(api) and len(rows()) == 147
    api.faults.answers = [(200, {}, b"[]")]
    run_id = planned(SYNC, connection="worse", kind="items", full=True)
    work_off(SYNC, run_id)
    assert run_of(run_id).status is RunStatus.FAILED
    assert len(rows()) == 147


@pytest.mark.parametrize("seed", (1, 2))
def test_edits_under_faults_converge(api: WorseApi, seed: int) -> None:
    """Random edits, creates and deletes on both sides between and during runs, with 503s and lost answers: both are equal soon."""
    chance = random.Random(seed)
    for number in range(30):
        api.create({"name": f"r{number}", "price": f"{number}.00"})
    sync()
    for step in range(6):
        for _ in range(6):
            live, local = list(api.live()), [row[0] for row in query("SELECT id FROM worse_rows")]
            match chance.randrange(6):
                case 0:
                    api.create({"name": f"new {step} {chance.random():.6f}"})
                case 1 | 2:
                    api.edit(chance.choice(live), {chance.choice(["name", "price"]): f"{chance.randrange(90) + 10}.00"})
                case 3:
                    api.delete(chance.choice(live))
                case 4:
                    execute(f"UPDATE worse_rows SET price = {chance.randrange(99)} WHERE id = {chance.choice(local)}")
                case 5:
                    execute(f"INSERT INTO worse_rows (name) VALUES ('mine {step} {chance.random():.6f}')")
        api.faults.unavailable_share = 0.3
        api.faults.lose_answers = chance.randrange(2)
        sync_in_spite()
    assert {0, 503} <= {seen.status for seen in api.requests()}
    api.faults.unavailable_share, api.faults.lose_answers = 0.0, 0
    for _ in range(2):
        sync(allow_deletes=True)
    assert rows() == records(api)
    made = [name for name, _ in rows() if name.startswith(("new ", "mine "))]
    assert len(made) == len(set(made))
    api.forget_requests()
    sync()
    assert {seen.method for seen in api.requests()} == {"GET"}
