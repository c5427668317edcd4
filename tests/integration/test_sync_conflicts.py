"""Fields that wait for a person: settled once, by what was seen, and whatever lost is in the audit."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tasks.errors import BadArguments
from tasks.sync.errors import NoConflict, NotResolvable, RowMoved
from tasks.sync.resolve import Choice
from tasks.sync.steer import resolve_conflict
from tests.integration.machinery import execute, query
from tests.integration.sync_machinery import api, change, items, outbox_rows, sync
from tests.sync_api import Api, fresh

__all__ = ["api"]


@pytest.fixture
def clashing(api: Api) -> tuple[Api, int, int]:
    """The API, the row's id and the conflict's: price 2 in the table, 3 at the API, 1 before."""
    api = fresh(policies={"price": "manual"})
    api.put("a", name="n", price="1.00", stock=1)
    sync()
    row = next(iter(items()))
    change("UPDATE items SET price = 2 WHERE id = :i", row, i=row)
    api.put("a", price="3.00")
    sync()
    return api, row, open_conflicts()[0]


def open_conflicts() -> list[int]:
    return [row[0] for row in query("SELECT id FROM sync_conflicts WHERE open = 1 ORDER BY id")]


def lost() -> list[tuple[str, str, str]]:
    """Side, what it had, and what was kept, of each value that was let go."""
    rows = query("SELECT side, before_state, after_state FROM sync_audit WHERE action = 'lost' ORDER BY id")
    return [(row[0], json.loads(row[1])["price"], json.loads(row[2])["price"]) for row in rows]


@pytest.mark.parametrize(
    "choice, value, kept, losers",
    [
        ("local", None, "2.00", [("remote", "3.00", "2.00")]),
        ("remote", None, "3.00", [("local", "2.00", "3.00")]),
        ("value", "4.00", "4.00", [("local", "2.00", "4.00"), ("remote", "3.00", "4.00")]),
    ],
)
def test_whatever_is_kept_the_rest_is_in_the_audit(
    clashing: tuple[Api, int, int], choice: Choice, value: str | None, kept: str, losers: list[tuple[str, str, str]]
) -> None:
    """Side by side with what won; after the next run both sides have it."""
    api, row, number = clashing
    assert resolve_conflict(number, choice, value=value, actor="ann", reason="so")["kept"] == kept
    assert lost() == losers
    sync()
    assert items()[row][1] == kept == api.live()["a"]["price"]
    assert open_conflicts() == [] and outbox_rows() == []
    before, after = query("SELECT before_state, after_state FROM audit_log WHERE action = 'resolve_conflict'")[0]
    assert json.loads(before) == {"local": "2.00", "remote": "3.00"} and json.loads(after)["kept"] == kept


def test_of_two_who_resolve_at_once_one_wins(clashing: tuple[Api, int, int]) -> None:
    """The other is told by whom; the value that was kept first stays."""
    _, row, number = clashing
    ready = Barrier(2)

    def settle(who: str, value: str) -> str:
        ready.wait(10)
        try:
            return str(resolve_conflict(number, "value", value=value, actor=who, reason="so")["kept"])
        except NotResolvable as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        said = [one.result(20) for one in [pool.submit(settle, *who) for who in (("ann", "4.00"), ("bob", "5.00"))]]
    winner = items()[row][1]
    assert sorted(said)[0] == winner
    assert "was resolved already by" in sorted(said)[1]
    assert query("SELECT COUNT(*) FROM audit_log") == [(1,)]


def test_a_record_that_moved_on_is_a_conflict_again(clashing: tuple[Api, int, int]) -> None:
    """A person kept the table's value over one that is not the API's any more: nobody has seen the newer one."""
    api, row, number = clashing
    api.put("a", price="8.00")
    resolve_conflict(number, "local", actor="ann", reason="so")
    sync()
    assert api.live()["a"]["price"] == "8.00" and items()[row][1] == "2.00"
    (again,) = open_conflicts()
    assert again != number
    assert query("SELECT base, local, remote FROM sync_conflicts WHERE id = :i", i=again) == [
        ('"3.00"', '"2.00"', '"8.00"')
    ]


def test_a_record_that_moved_on_is_taken_where_the_api_was_to_win(clashing: tuple[Api, int, int]) -> None:
    """Who keeps the API's value keeps what the API has."""
    api, row, number = clashing
    api.put("a", price="8.00")
    resolve_conflict(number, "remote", actor="ann", reason="so")
    sync()
    assert items()[row][1] == "8.00" == api.live()["a"]["price"] and open_conflicts() == []


def test_a_row_that_moved_on_is_not_overwritten_unseen(clashing: tuple[Api, int, int]) -> None:
    """Neither by the API's value nor by another; looked at again, it can be settled."""
    _, row, number = clashing
    execute("UPDATE items SET price = 7 WHERE id = :i", i=row)
    for choice, value in (("remote", None), ("value", "4.00")):
        execute("UPDATE sync_conflicts SET local = '\"2.00\"'")
        with pytest.raises(RowMoved, match=r"is '7\.00' now"):
            resolve_conflict(number, choice, value=value, actor="ann", reason="so")  # type: ignore[arg-type]
    assert items()[row][1] == "7.00" and lost() == []
    resolve_conflict(number, "remote", actor="ann", reason="looked again")
    assert items()[row][1] == "3.00" and lost() == [("local", "7.00", "3.00")]


def test_who_keeps_the_tables_value_keeps_what_the_table_has(clashing: tuple[Api, int, int]) -> None:
    """Nothing of the row is overwritten by that."""
    api, row, number = clashing
    change("UPDATE items SET price = 7 WHERE id = :i", row, i=row)
    resolve_conflict(number, "local", actor="ann", reason="so")
    sync()
    assert items()[row][1] == "7.00" == api.live()["a"]["price"]


def test_a_conflict_whose_row_is_gone_cannot_be_settled_and_closes_by_itself(clashing: tuple[Api, int, int]) -> None:
    """Once the record is gone, too, nobody has to decide anything."""
    api, row, number = clashing
    change("DELETE FROM items WHERE id = :i", row, i=row)
    with pytest.raises(NotResolvable, match="its row is gone"):
        resolve_conflict(number, "remote", actor="ann", reason="so")
    api.drop("a")
    sync()
    assert open_conflicts() == []
    assert query("SELECT COUNT(*) FROM sync_links") == [(0,)]
    with pytest.raises(NotResolvable, match="not linked any more"):
        resolve_conflict(number, "remote", actor="ann", reason="so")


def test_a_conflict_whose_sides_come_to_agree_closes_by_itself(clashing: tuple[Api, int, int]) -> None:
    """Somebody put the same value on both."""
    api, row, _ = clashing
    change("UPDATE items SET price = 6 WHERE id = :i", row, i=row)
    api.put("a", price="6.00")
    sync()
    assert open_conflicts() == [] and outbox_rows() == []


def test_what_cannot_be_meant_is_refused(clashing: tuple[Api, int, int]) -> None:
    """Another word, no such conflict, no reason."""
    _, _, number = clashing
    with pytest.raises(BadArguments, match="local, remote or value"):
        resolve_conflict(number, "both", actor="ann", reason="so")  # type: ignore[arg-type]
    with pytest.raises(NoConflict, match="there is no conflict 0"):
        resolve_conflict(0, "local", actor="ann", reason="so")
    with pytest.raises(NotResolvable, match="digits"):
        resolve_conflict(number, "value", value="1.005", actor="ann", reason="so")
    assert open_conflicts() == [number]


def test_no_run_closes_a_conflict_that_nobody_settled(clashing: tuple[Api, int, int]) -> None:
    """However often it runs, in full or not; it stays one, with the values of now."""
    api, row, number = clashing
    api.put("a", price="8.00")
    for full in (False, True, False):
        sync(full=full)
    assert open_conflicts() == [number]
    assert query("SELECT base, local, remote FROM sync_conflicts WHERE open = 1") == [('"1.00"', '"2.00"', '"8.00"')]
    assert items()[row][1] == "2.00" and api.live()["a"]["price"] == "8.00"
