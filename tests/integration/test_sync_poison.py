"""One record that the API chokes on: its job ends as a dead letter, and the others flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from runstate.runs import Run
from tasks.sync.connector import OutcomeUnknown, Record, RemoteError, Unavailable, Write
from tasks.sync.kind import SYNC
from tests.integration.machinery import execute, planned, query, run_of, work_off
from tests.integration.sync_machinery import api, change, items
from tests.sync_api import Api

__all__ = ["api"]
ROWS = 24
POISON = 9


def sync_to_the_end() -> Run:
    """One run with all its attempts, its waits cut short."""
    run_id = planned(SYNC, connection="memory", kind="items")
    for _ in range(40):
        work_off(SYNC, run_id)
        if run_of(run_id).ended:
            return run_of(run_id)
        execute("UPDATE jobs SET due_at = NOW(6), state = 'queued' WHERE run_id = :r AND state = 'pending'", r=run_id)
    raise AssertionError("the run does not end")


def poisoned(api: Api, error: Callable[[], RemoteError]) -> None:
    """Every request with the poison in it ends so, and nothing of it is done."""
    written = api.write_many

    def write_many(writes: Sequence[Write]) -> list[Record | RemoteError | None]:
        if any((write.fields or {}).get("name") == f"n{POISON}" for write in writes):
            api.log.append(("poison", str(len(writes))))
            raised = error()
            if isinstance(raised, OutcomeUnknown):
                return [raised] * len(writes)
            raise raised
        return written(writes)

    api.write_many = write_many  # type: ignore[method-assign]


@pytest.mark.parametrize("batch_size", [1, 10, 100])
@pytest.mark.parametrize("error", [Unavailable, OutcomeUnknown])
def test_a_record_that_the_api_chokes_on_keeps_back_only_itself(
    api: Api, error: type[RemoteError], batch_size: int
) -> None:
    """Alone in its request or among others, refused or without an answer; the run ends, and so does every later one."""
    api.capabilities = replace(api.capabilities, batch_size=batch_size)
    poisoned(api, lambda: error("500"))
    for n in range(ROWS):
        change("INSERT INTO items (id, name) VALUES (:i, :n)", n + 1, i=n + 1, n=f"n{n}")
    run = sync_to_the_end()
    assert {fields["name"] for fields in api.live().values()} == {f"n{n}" for n in range(ROWS) if n != POISON}
    assert query("SELECT COUNT(*) FROM dead_letters WHERE run_id = :r", r=run.run_id) == [(1,)]
    assert query("SELECT entity FROM sync_outbox") == [(f"l:{POISON + 1}",)]
    api.put("other", name="other", price=None, stock=None)
    sync_to_the_end()
    assert "other" in {row[0] for row in items().values()}


def test_an_api_that_is_away_is_not_asked_for_every_record(api: Api) -> None:
    """Three failures in a row are no record's own."""
    asked: list[int] = []

    def away(writes: Sequence[Write]) -> list[Record | RemoteError | None]:
        asked.append(len(writes))
        raise Unavailable("503")

    api.write_many = away  # type: ignore[method-assign]
    for n in range(ROWS):
        change("INSERT INTO items (id, name) VALUES (:i, :n)", n + 1, i=n + 1, n=f"n{n}")
    run_id = planned(SYNC, connection="memory", kind="items")
    work_off(SYNC, run_id)
    assert asked == [1, 1, 1]
    assert query("SELECT COUNT(*) FROM sync_outbox WHERE intent IS NOT NULL") == [(0,)]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "KeyError"),
        ({"name": None}, "AttributeError"),
        ({"name": "1e"}, "InvalidOperation"),
        ({"name": 5}, "AttributeError"),
    ],
)
def test_a_record_of_a_shape_that_the_mapping_did_not_expect_is_a_reject(
    api: Api, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], why: str
) -> None:
    """It names the method and the error; the page is taken in, and the next one asked for."""

    def to_local(given: Mapping[str, Any]) -> dict[str, Any]:
        return {**given, "price": str(Decimal(given["name"].removeprefix("n")))}

    monkeypatch.setattr(api, "to_local", to_local)
    for n in range(ROWS):
        api.put(f"r{n}", name=f"n{n}", price="1.00", stock=1)
    api.records["r3"] = replace(api.records["r3"], fields=fields)
    run = sync_to_the_end()
    assert (run.status.value, run.jobs_dead) == ("completed", 0)
    assert len(items()) == ROWS - 1
    ((entity, message),) = query("SELECT entity, reason FROM sync_rejects")
    assert entity == "r:r3"
    assert "to_local does not cope with it" in message and why in message


def test_a_row_of_a_shape_that_the_mapping_did_not_expect_is_a_reject(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in the other direction: the rest of the batch is written."""

    def to_remote(columns: Mapping[str, Any]) -> dict[str, Any]:
        return {**columns, "size": {"n3": {}}.get(columns["name"], {"size": 1})["size"]}

    monkeypatch.setattr(api, "to_remote", to_remote)
    for n in range(ROWS):
        change("INSERT INTO items (id, name) VALUES (:i, :n)", n + 1, i=n + 1, n=f"n{n}")
    assert sync_to_the_end().jobs_dead == 0
    assert len(api.live()) == ROWS - 1
    assert "KeyError" in query("SELECT reason FROM sync_rejects")[0][0]
