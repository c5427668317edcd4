"""What a pull makes of pages."""

from __future__ import annotations

from tests.integration.machinery import query
from tests.integration.sync_machinery import api, both_sides, change, counts, items, outbox_rows, sync
from tests.sync_api import Api

__all__ = ["api"]


def test_records_become_rows_and_a_second_run_only_lists(api: Api) -> None:
    """Every record is a row; what is unchanged is neither written nor asked for again."""
    api.page_size = 100
    for n in range(250):
        api.put(f"a{n}", name=f"n{n}", price=f"{n}.50", stock=n)
    assert counts(sync()) == {"created": 250}
    assert len(items()) == 250
    local, remote = both_sides(api)
    assert local == remote
    api.log.clear()
    assert counts(sync()) == {}
    assert {op for op, _ in api.log} == {"list"}
    assert query("SELECT COUNT(*) FROM sync_outbox") == [(0,)]


def test_changes_of_one_side_go_to_the_other(api: Api) -> None:
    """Rows made, changed and deleted by the application, records made, changed and deleted by others: all arrive."""
    for n in range(10):
        api.put(f"a{n}", name=f"n{n}", price="1.00", stock=n)
    sync()
    ids = {row[0]: i for i, row in items().items()}
    change("UPDATE items SET stock = 100 WHERE id = :i", ids["n1"], i=ids["n1"])
    change("DELETE FROM items WHERE id = :i", ids["n2"], i=ids["n2"])
    change("INSERT INTO items (id, name, price) VALUES (900, 'new', 2)", 900)
    api.put("a3", price="3.30")
    api.drop("a4")
    api.put("b", name="b", price=None, stock=5)
    api.log.clear()
    run = sync()
    assert counts(run) == {
        "created": 1, "updated": 1, "deleted": 1, "to_push": 3, "remote_created": 1, "remote_updated": 1, "remote_deleted": 1
    }  # fmt: skip
    assert len(api.writes()) == 3
    local, remote = both_sides(api)
    assert local == remote and len(local) == 10
    api.log.clear()
    assert counts(sync()) == {}
    assert not api.writes()
    assert outbox_rows() == []
