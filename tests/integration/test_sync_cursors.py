"""An API that forgets where a listing was: it begins again, and not for ever."""

from __future__ import annotations

import ast
from typing import Any

from runstate.statuses import RunStatus
from tasks.sync.connector import CursorExpired
from tasks.sync.pull import MAX_RESTARTS
from tests.integration.machinery import query
from tests.integration.sync_machinery import api, both_sides, items, sync, sync_run
from tests.sync_api import Api

__all__ = ["api"]


def forgetting(api: Api, *, times: int, resume: bool = False) -> list[int]:
    """Have the places in listings (with ``resume`` also those where one begins) be forgotten so many times; how many are left."""
    left = [times]
    real = api.list_changes

    def list_changes(cursor: Any | None, *, full: bool = False) -> Any:
        if left[0] and (isinstance(cursor, dict) or (resume and cursor is not None and not full)):
            left[0] -= 1
            raise CursorExpired("410 this token is not known", status=410)
        return real(cursor, full=full)

    api.list_changes = list_changes  # type: ignore[method-assign]
    return left


def listed(api: Api) -> list[Any]:
    return [ast.literal_eval(cursor) for op, cursor in api.log if op == "list"]


def test_a_listing_whose_place_was_forgotten_begins_again(api: Api) -> None:
    """All records arrive, and those that were known already are not written again."""
    api.page_size = 3
    for n in range(10):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    forgetting(api, times=MAX_RESTARTS)
    run = sync()
    assert run.result is not None and run.result["created"] == 10
    assert len(items()) == 10
    local, remote = both_sides(api)
    assert local == remote


def test_a_listing_of_changes_goes_on_behind_the_last_page_that_was_taken_in(api: Api) -> None:
    """Not from the beginning of time: what is in is in."""
    api.page_size = 3
    for n in range(30):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    sync()
    for n in range(9):
        api.put(f"a{n}", stock=100)
    api.log.clear()
    left = forgetting(api, times=1)
    sync()
    assert left == [0]
    assert listed(api) == [30, 33, {"since": 36, "full": False}]
    assert sum(1 for row in items().values() if row[2] == 100) == 9


def test_where_no_place_is_known_everything_is_listed(api: Api) -> None:
    """Neither the page's nor the last run's cursor: in full, and what is missing there is looked for."""
    for n in range(5):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    sync()
    del api.records["a3"]
    api.put("a4", stock=50)
    forgetting(api, times=1, resume=True)
    sync()
    assert {row[0] for row in items().values()} == {"n0", "n1", "n2", "n4"}


def test_a_listing_that_never_comes_to_its_end_fails_and_says_what_to_do(api: Api) -> None:
    """An API that forgets every place would be listed for ever; what was listed is kept, and nothing is deleted."""
    api.page_size = 3
    for n in range(10):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    forgetting(api, times=1_000)
    run = sync_run()
    assert run.status is RunStatus.FAILED
    assert f"forgotten the place in its listing {MAX_RESTARTS + 1} times" in (run.reason or "")
    assert "larger pages" in (run.reason or "") and "410" in (run.reason or "")
    assert len(listed(api)) == 1 + MAX_RESTARTS
    assert len(items()) == 3
    assert query("SELECT attempts FROM jobs WHERE run_id = :r AND state = 'dead'", r=run.run_id) == [(1,)]
