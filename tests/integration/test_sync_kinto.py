"""The Kinto connector, against Kinto behind nginx."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasks.sync.connector import (
    AuthFailed,
    CursorExpired,
    NotFound,
    Page,
    RateLimited,
    Record,
    Rejected,
    Unavailable,
    Unusable,
    VersionMoved,
    Write,
)
from tasks.sync.http import Http
from tasks.sync.kinto import KintoConnector, id_of_key
from tests.kinto_server import BUCKET, PASSWORD, USER, KintoServer

COLUMNS = {"name": "name", "price": "price"}
OLD = 1_234_567_890_000


class Small(KintoConnector):
    page_size = 100


def connector(
    kinto: KintoServer, url: str | None = None, *, password: str = PASSWORD, collection: str = "items"
) -> Small:
    address = (url or kinto.url).replace("http://", f"http://{USER}:{password}@")
    return Small(Http(address), BUCKET, collection, COLUMNS)


@pytest.fixture
def items(kinto: KintoServer) -> Iterator[Small]:
    made = connector(kinto)
    yield made
    made.close()


def listed(
    items: Small, cursor: Any = None, *, full: bool = False, between: Callable[[int], None] = lambda page: None
) -> tuple[dict[str, Record], Page]:
    found: dict[str, Record] = {}
    for number in range(50):
        page = items.list_changes(cursor, full=full)
        found.update({record.remote_id: record for record in page.records})
        if page.next_cursor is None:
            return found, page
        between(number)
        cursor = page.next_cursor
    raise AssertionError("the listing does not end")


def listed_often(items: Small, times: int) -> None:
    for _ in range(times):
        items.list_changes(None)


def test_a_record_comes_back_as_it_was_made(items: Small) -> None:
    """Create, read and list agree on fields, version and time."""
    made = items.create({"name": "Hammer", "price": "9.90"}, idempotency_key="k1")
    assert made.fields == {"name": "Hammer", "price": "9.90"}
    assert made.updated_at is not None and abs(made.updated_at.timestamp() - time.time()) < 60
    assert items.get(made.remote_id) == made
    assert list(items.list_changes(None).records) == [made]
    assert items.get("nobody") is None


def test_a_second_create_with_one_key_finds_the_first(kinto: KintoServer, items: Small) -> None:
    """A create that is repeated makes one record, and it can be found by its key alone."""
    assert items.find_created("k1") is None
    first = items.create({"name": "Saw"}, idempotency_key="k1")
    assert items.create({"name": "Saw"}, idempotency_key="k1") == first == items.find_created("k1")
    assert list(kinto.records("items")) == [id_of_key("k1")]


def test_a_chosen_id_is_made_once(items: Small) -> None:
    """Whoever comes second gets the record that is there."""
    first = items.create({"name": "Saw"}, idempotency_key="k1", remote_id="saw-1")
    with pytest.raises(VersionMoved) as refused:
        items.create({"name": "Other"}, idempotency_key="k2", remote_id="saw-1")
    assert refused.value.current == first


def test_a_write_is_bound_to_its_version(kinto: KintoServer, items: Small) -> None:
    """412 carries the record as it is now, in one request; with its version the write goes through, and other fields stay."""
    made = items.create({"name": "Saw", "price": "1"}, idempotency_key="k1")
    kinto.patch("items", made.remote_id, name="theirs")
    kinto.forget_requests()
    with pytest.raises(VersionMoved) as refused:
        items.update(made.remote_id, {"price": "2"}, if_version=made.version)
    with pytest.raises(VersionMoved):
        items.delete(made.remote_id, if_version=made.version)
    assert len(kinto.requests()) == 2
    current = refused.value.current
    assert current is not None and current.fields == {"name": "theirs", "price": "1"}
    updated = items.update(made.remote_id, {"price": "2"}, if_version=current.version)
    assert updated.fields == {"name": "theirs", "price": "2"}
    items.delete(made.remote_id, if_version=updated.version)
    with pytest.raises(NotFound):
        items.update(made.remote_id, {"price": "3"}, if_version=updated.version)
    with pytest.raises(NotFound):
        items.delete(made.remote_id, if_version=None)


def test_changes_tell_of_deletes(kinto: KintoServer, items: Small) -> None:
    """A listing since a cursor has tombstones, a full one has not."""
    for number in range(3):
        kinto.put("items", f"i{number}", name="x")
    _, last = listed(items)
    kinto.delete("items", "i1")
    found, page = listed(items, last.resume_cursor)
    assert found["i1"].deleted and not page.full
    everything, page = listed(items, last.resume_cursor, full=True)
    assert set(everything) == {"i0", "i2"} and page.full


def test_records_of_one_time_stamp_are_not_missed_at_a_page_edge(kinto: KintoServer, items: Small) -> None:
    """200 records of one millisecond in pages of 100, edited and deleted while paging: one listing has them all."""
    requests = [
        {
            "method": "PUT",
            "path": f"/buckets/{BUCKET}/collections/items/records/r{number:03}",
            "body": {"data": {"name": f"n{number}", "last_modified": OLD}},
        }
        for number in range(250)
    ]
    for start in range(0, 250, 100):
        kinto.call("POST", "/batch", {"requests": requests[start : start + 100]})

    victims = iter(range(50, 60))

    def meddle(page: int) -> None:
        kinto.patch("items", f"r{page:03}", name=f"edited after {page}")
        kinto.patch("items", f"r{190 + page:03}", name=f"edited after {page}")
        kinto.delete("items", f"r{next(victims):03}")

    for cursor in (None, {"since": 1, "token": None, "top": 0}):
        first, last = listed(items, cursor, between=meddle)
        live = {key: record["name"] for key, record in kinto.records("items").items()}
        if cursor is not None:
            # Oldest first: what is edited or deleted while the pages are read comes again at the end.
            assert {key: record.fields["name"] for key, record in first.items() if not record.deleted} == live
        again, _ = listed(items, last.resume_cursor)
        known = {key: record.fields.get("name") for key, record in {**first, **again}.items() if not record.deleted}
        gone = {key for key, record in {**first, **again}.items() if record.deleted}
        assert {key: name for key, name in known.items() if key not in gone} == live
        assert len(live) == 250 - len(gone)


def test_a_batch_has_an_answer_for_each_entry(kinto: KintoServer, items: Small) -> None:
    """Conditions hold inside a batch, entry by entry, and 60 writes are three requests."""
    made = [items.create({"name": f"n{number}"}, idempotency_key=f"k{number}") for number in range(4)]
    kinto.patch("items", made[1].remote_id, name="theirs")
    kinto.delete("items", made[2].remote_id)
    kinto.forget_requests()
    writes = [
        Write("update", remote_id=made[0].remote_id, fields={"name": "ours"}, if_version=made[0].version),
        Write("update", remote_id=made[1].remote_id, fields={"name": "ours"}, if_version=made[1].version),
        Write("update", remote_id=made[2].remote_id, fields={"name": "ours"}, if_version=made[2].version),
        Write("delete", remote_id=made[3].remote_id, if_version=made[3].version),
        Write("create", fields={"name": "again"}, idempotency_key="k0"),
        Write("create", fields={"name": "bad id"}, idempotency_key="kx", remote_id="no spaces"),
        *(Write("create", fields={"name": "new"}, idempotency_key=f"j{number}") for number in range(54)),
    ]
    outcomes = items.write_many(writes)
    first, moved, gone, deleted, again, bad, *new = outcomes
    assert isinstance(first, Record) and first.fields == {"name": "ours"}
    assert isinstance(moved, VersionMoved) and moved.current is not None and moved.current.fields == {"name": "theirs"}
    assert isinstance(gone, NotFound) and deleted is None
    assert isinstance(again, Record) and again.fields == {"name": "ours"}
    assert isinstance(bad, Rejected)
    assert len(new) == 54 and all(isinstance(outcome, Record) for outcome in new)
    assert len(kinto.requests()) == 3


def test_retry_after_comes_through(kinto: KintoServer, items: Small) -> None:
    """nginx' 429 says how long, also under a real rate limit; nothing was done."""
    kinto.limit(60)
    with pytest.raises(RateLimited) as limited:
        items.create({"name": "x"}, idempotency_key="k1")
    assert limited.value.retry_after_s == 60
    kinto.calm()
    crowd = connector(kinto, kinto.limited_url)
    with pytest.raises(RateLimited) as limited:
        listed_often(crowd, 50)
    assert limited.value.retry_after_s == 1
    crowd.close()
    assert kinto.records("items") == {}


def test_what_is_down_is_unavailable(kinto: KintoServer, items: Small) -> None:
    """502 to a read and 503 are for later; the connection works again afterwards."""
    kinto.flaky()
    outcomes = set()
    for _ in range(200):
        try:
            items.list_changes(None)
            outcomes.add(200)
        except Unavailable as error:
            outcomes.add(error.status or 0)
    assert outcomes == {200, 503}
    kinto.calm()
    kinto.stop()
    with pytest.raises(Unavailable) as down:
        items.list_changes(None)
    assert down.value.status == 502
    kinto.start()
    kinto.fresh("items")
    assert items.list_changes(None).records == []


def test_a_history_that_begins_anew_is_noticed(kinto: KintoServer, items: Small) -> None:
    """A cursor from after the server's last change, and a token of another's making, lead to a new listing."""
    kinto.put("items", "i1", name="x")
    later = int(time.time() * 1000) + 3_600_000
    for cursor in (
        {"since": later, "token": None, "top": 0},
        {"since": 1, "token": "made-up", "top": 0},
        {"since": 1},
        "x",
    ):
        with pytest.raises(CursorExpired):
            items.list_changes(cursor)


def test_what_cannot_work_says_so(kinto: KintoServer) -> None:
    """A wrong password and a collection that is not there are the connection's trouble, not a record's, and show no secret."""
    wrong = connector(kinto, password="wrong-password")
    with pytest.raises(AuthFailed) as refused:
        wrong.list_changes(None)
    assert "wrong-password" not in str(refused.value) and "wrong-password" not in repr(wrong.http)
    nowhere = connector(kinto, collection="nowhere")
    with pytest.raises(Unusable):
        nowhere.list_changes(None)
    wrong.close()
    nowhere.close()


def test_an_empty_collection_is_listed_once_in_full(items: Small) -> None:
    """The next listing begins at the collection's own time stamp."""
    first = items.list_changes(None)
    assert first.full and first.records == []
    items.create({"name": "x"}, idempotency_key="k1")
    second = items.list_changes(first.resume_cursor)
    assert not second.full and len(second.records) == 1
