"""What keeps old states, doubled creates and needless writes out, each shown where nothing else would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runstate.transaction import in_transaction
from tasks import clients
from tasks.sync import links
from tasks.sync.connections import connection_named, connector_of
from tasks.sync.connector import OutcomeUnknown, Record
from tasks.sync.effects import Scene
from tasks.sync.kind import SYNC
from tasks.sync.links import Pair
from tasks.sync.local import local_table
from tasks.sync.observe import observe, read_records
from tests import sync_api
from tests.integration.machinery import execute, planned, query, work_off
from tests.integration.sync_machinery import api, both_sides, change, items, sync
from tests.sync_api import Api

__all__ = ["api"]


class _Killed(BaseException):
    """The process died here."""


def take_in(record: Record) -> None:
    """What a webhook's job does: one record is read and taken in, while others are at work."""
    connection = connection_named("memory")
    (kind,) = connection.kinds
    table = local_table(clients.engine(), kind)
    scene = Scene(Pair("memory", "items"), kind, table, connector_of(connection, kind), "00000000-webhook")
    read = read_records(scene, [record])
    in_transaction(clients.engine(), lambda c: observe(c, scene, read, read_at=links.now(c)) and None)


def test_a_page_that_was_overtaken_changes_nothing(api: Api) -> None:
    """What it shows is older than what is known: the record is read again, and no row goes back, not for a moment."""
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    api.put("a", stock=2)
    seen: list[Any] = []

    def overtake(op: str, _: str) -> None:
        if op == "list" and not seen:
            take_in(api.put("a", stock=3))
            seen.append(items())

    api.after = overtake
    run_id = planned(SYNC, connection="memory", kind="items", direction="pull")
    work_off(SYNC, run_id)
    assert [row[2] for row in seen[0].values()] == [row[2] for row in items().values()] == [3]
    assert query("SELECT COUNT(*) FROM sync_audit WHERE after_state LIKE '%2%' AND action = 'update'") == [(0,)]
    sync()
    sync()
    assert items() and both_sides(api)[0] == both_sides(api)[1] == [("n", "1.00", 3)]


def test_a_create_that_may_still_arrive_is_made_again_under_its_key(api: Api) -> None:
    """Its answer was lost and nothing is there yet: a second key would make a second record once the first one arrives."""
    lost = iter([True])

    def lose(op: str, _: str) -> None:
        if op == "create" and next(lost, False):
            raise OutcomeUnknown("sent, and not there yet")

    api.before = lose
    change("INSERT INTO items (id, name) VALUES (1, 'x')", 1)
    sync()
    made = [remote_id for op, remote_id in api.log if op == "create"]
    assert len(made) == 2 and len(set(made)) == 1


def test_what_is_listed_again_and_has_not_changed_is_not_touched(api: Api) -> None:
    """Not even its link, whose number a push compares: else each listing would overtake each push."""
    for n in range(3):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    sync()
    before = query("SELECT id, seq, read_at FROM sync_links ORDER BY id")
    sync(full=True)
    assert query("SELECT id, seq, read_at FROM sync_links ORDER BY id") == before


@pytest.mark.parametrize("chosen_ids", [True, False])
def test_a_create_that_a_dead_worker_left_is_settled_before_anything_is_listed(api: Api, chosen_ids: bool) -> None:
    """One run takes everything in: its record is linked to its row, and others' new records need not wait for the next."""
    api.capabilities = replace(api.capabilities, chosen_ids=chosen_ids, finds_created=True)
    keys: dict[str, str] = {}
    create, kill = api.create, [True]

    def creating(fields: Any, *, idempotency_key: str, remote_id: str | None = None) -> Record:
        made = create(fields, idempotency_key=idempotency_key, remote_id=remote_id)
        keys[idempotency_key] = made.remote_id
        if kill.pop() if kill else False:
            raise _Killed
        return made

    api.create = creating  # type: ignore[method-assign]
    api.find_created = lambda idempotency_key: api.records.get(keys.get(idempotency_key, ""))  # type: ignore[method-assign]
    change("INSERT INTO items (id, name) VALUES (1, 'x')", 1)
    run_id = planned(SYNC, connection="memory", kind="items")
    with pytest.raises(_Killed):
        work_off(SYNC, run_id)
    execute("UPDATE runs SET status = 'failed', finished_at = NOW(6) WHERE finished_at IS NULL")
    api.put("other", name="other", price=None, stock=None)
    sync()
    assert sorted(row[0] for row in items().values()) == ["other", "x"]
    local, remote = both_sides(api)
    assert local == remote
    assert query("SELECT COUNT(*) FROM sync_outbox") == [(0,)]
    assert sync_api.API is api
