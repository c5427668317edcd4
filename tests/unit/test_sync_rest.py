"""The REST base against an API of the worse kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.sync.connector import (
    BadAnswer,
    CursorExpired,
    NotFound,
    OutcomeUnknown,
    Page,
    RateLimited,
    Record,
    Rejected,
    Unavailable,
    Unusable,
    VersionMoved,
    Write,
)
from tests.worse_api import Item, WorseApi
from tests.worse_items import WorseItems, items_of

T = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def items(worse: WorseApi) -> Iterator[WorseItems]:
    worse.now = lambda: T + timedelta(days=1)
    connector = items_of(worse)
    yield connector
    connector.close()


def listed(
    items: WorseItems, cursor: Any = None, *, full: bool = False, between: Callable[[int], None] = lambda page: None
) -> tuple[dict[str, Record], Page]:
    """Everything that one listing tells, the last word for each id, and its last page; ``between`` runs after each page."""
    found: dict[str, Record] = {}
    for number in range(200):
        page = items.list_changes(cursor, full=full)
        found.update({record.remote_id: record for record in page.records})
        if page.next_cursor is None:
            return found, page
        between(number)
        cursor = page.next_cursor
    raise AssertionError("the listing does not end")


def fill(api: WorseApi, count: int, modified: datetime = T, *, start: int = 0) -> list[Item]:
    return [api.create({"name": f"n{number}"}, modified=modified) for number in range(start, start + count)]


def test_a_record_has_its_parts(worse: WorseApi, items: WorseItems) -> None:
    """Id, time, flag and our reference are not among a record's fields."""
    worse.create({"name": "Hammer", "price": "9.90", "reference": "key-1"}, modified=T)
    (record,) = items.list_changes(None).records
    assert (record.remote_id, record.fields, record.updated_at, record.deleted) == (
        "1",
        {"name": "Hammer", "price": "9.90"},
        T,
        False,
    )
    assert items.get("1") == record
    assert items.get("2") is None


@pytest.mark.parametrize("hide_totals", (False, True))
@pytest.mark.parametrize("count", (0, 1, 99, 100, 101, 200, 201, 530, 800))
def test_a_listing_has_every_record(worse: WorseApi, items: WorseItems, count: int, hide_totals: bool) -> None:
    """Pages end where the list does, whether or not the API says how long it is, and though it caps them."""
    worse.faults.hide_totals = hide_totals
    fill(worse, count)
    found, last = listed(items)
    assert len(found) == count
    assert last.full


@pytest.mark.parametrize("hide_totals", (False, True))
def test_edits_and_deletes_while_paging_hide_nothing(worse: WorseApi, items: WorseItems, hide_totals: bool) -> None:
    """200 records of one second across the edge of a page, some edited or gone between the pages: two rounds know them all."""
    worse.faults.hide_totals = hide_totals
    fill(worse, 50, T - timedelta(hours=1))
    fill(worse, 200, start=50)
    clock = iter(T + timedelta(seconds=5 + number) for number in range(1000))
    gone: list[str] = []

    def meddle(page: int) -> None:
        worse.edit(60 + page, {"name": f"edited after page {page}"}, modified=next(clock))
        worse.edit(160 + page, {"name": f"edited after page {page}"}, modified=next(clock))
        worse.delete(100 + page, modified=next(clock))
        worse.forget(10 + page)
        gone.append(str(10 + page))

    first, last = listed(items, between=meddle)
    again, _ = listed(items, last.resume_cursor)
    known = {**first, **again}
    assert {
        key: record.fields.get("name") for key, record in known.items() if key not in gone and not record.deleted
    } == {str(key): item["name"] for key, item in worse.live().items()}
    assert {key for key, record in known.items() if record.deleted} == {
        str(key) for key, item in worse.items.items() if item["deleted"]
    }


def test_changes_begin_before_the_newest_record_seen(worse: WorseApi, items: WorseItems) -> None:
    """What is written in the second of the last record, after it was listed, is not missed; what is long unchanged stays away."""
    fill(worse, 3, T - timedelta(hours=1))
    fill(worse, 1, T)
    _, last = listed(items)
    late = worse.create({"name": "same second"}, modified=T)
    found, page = listed(items, last.resume_cursor)
    assert set(found) == {"4", str(late["id"])}
    assert not page.full and not page.filter_ignored


def test_a_cursor_never_goes_back(worse: WorseApi, items: WorseItems) -> None:
    """Though the newest record has vanished, the next listing begins where this one did, not earlier."""
    fill(worse, 1, T - timedelta(seconds=3))
    fill(worse, 1)
    _, last = listed(items)
    worse.forget(2)
    for _ in range(3):
        _, again = listed(items, last.resume_cursor)
        assert again.resume_cursor == last.resume_cursor


def test_a_time_stamp_from_the_future_hides_nothing(worse: WorseApi, items: WorseItems) -> None:
    """One record of the year 2099 does not move the cursor beyond the other side's clock."""
    worse.now = lambda: T
    fill(worse, 1, datetime(2099, 1, 1, tzinfo=UTC))
    _, last = listed(items)
    late = worse.create({"name": "after it"}, modified=T + timedelta(seconds=1))
    found, _ = listed(items, last.resume_cursor)
    assert str(late["id"]) in found


def test_an_ignored_filter_is_noticed(worse: WorseApi, items: WorseItems) -> None:
    """An API that sends everything, though asked for changes, is found out by what is too old; it is no full listing."""
    fill(worse, 150, T - timedelta(days=1))
    fill(worse, 10, start=150)
    _, last = listed(items)
    worse.faults.ignore_modified_after = True
    found, page = listed(items, last.resume_cursor)
    assert len(found) == 160
    assert page.filter_ignored and not page.full


def test_a_full_listing_can_be_asked_for(worse: WorseApi, items: WorseItems) -> None:
    """With full=True a cursor's time does not count, though its page does."""
    fill(worse, 150, T - timedelta(days=1))
    fill(worse, 1, T)
    _, last = listed(items)
    found, page = listed(items, last.resume_cursor, full=True)
    assert len(found) == 151 and page.full


def test_a_deleted_item_that_answers_200_is_deleted(worse: WorseApi, items: WorseItems) -> None:
    """The flag counts, in listings and alone; writes to it find nothing, though the API takes them."""
    fill(worse, 2)
    version = items.list_changes(None).records[0].version
    worse.delete(1, modified=T)
    deleted = items.get("1")
    assert deleted is not None and deleted.deleted
    assert [record.deleted for record in items.list_changes(None).records] == [True, False]
    for if_version in (version, None):
        with pytest.raises(NotFound):
            items.update("1", {"name": "new"}, if_version=if_version)
    with pytest.raises(NotFound):
        items.delete("1", if_version=version)


def test_an_update_is_compared_by_reading(worse: WorseApi, items: WorseItems) -> None:
    """Without ETags, a record that was changed since it was seen is not overwritten, and the refusal has it as it is now."""
    fill(worse, 1)
    seen = items.get("1")
    assert seen is not None
    worse.edit(1, {"name": "theirs"}, modified=T)
    with pytest.raises(VersionMoved) as refused:
        items.update("1", {"name": "ours"}, if_version=seen.version)
    assert refused.value.current is not None and refused.value.current.fields["name"] == "theirs"
    with pytest.raises(VersionMoved):
        items.delete("1", if_version=seen.version)
    assert worse.items[1]["name"] == "theirs"
    updated = items.update("1", {"name": "ours"}, if_version=refused.value.current.version)
    assert updated.fields["name"] == worse.items[1]["name"] == "ours"
    assert items.update("1", {"price": "1"}, if_version=updated.version).fields == {"name": "ours", "price": "1"}
    items.delete("1", if_version=None)
    assert worse.items[1]["deleted"]


def test_what_a_listing_and_a_read_show_is_one_version(worse: WorseApi, items: WorseItems) -> None:
    """A field that nobody maps does not move the version."""
    fill(worse, 1)
    (record,) = items.list_changes(None).records
    worse.edit(1, {"views": 17}, modified=T)
    assert items.update("1", {"name": "ours"}, if_version=record.version).fields["name"] == "ours"


def test_a_create_whose_answer_is_lost_is_found(worse: WorseApi, items: WorseItems) -> None:
    """The POST is not repeated: reading by the reference tells that it was done, and where."""
    worse.faults.lose_answers = 1
    with pytest.raises(OutcomeUnknown):
        items.create({"name": "Saw"}, idempotency_key="key-7")
    found = items.find_created("key-7")
    assert found is not None and found.fields["name"] == "Saw"
    assert items.find_created("key-8") is None
    assert len(worse.live()) == len(worse.requests("POST")) == 1


def test_a_search_whose_filter_is_ignored_says_nothing(worse: WorseApi, items: WorseItems) -> None:
    """Records with other references are no proof that there is none with ours."""
    worse.faults.answers = [
        (200, {}, b'[{"id": 1, "name": "x", "reference": "other", "date_modified": "2026-01-01T00:00:00"}]')
    ]
    with pytest.raises(BadAnswer, match="ignored"):
        items.find_created("key-7")


def test_a_batch_has_an_answer_for_each_entry(worse: WorseApi, items: WorseItems) -> None:
    """Errors inside a 200 concern their own entries; the others are done, in one request."""
    fill(worse, 4)
    records = items.list_changes(None).records
    worse.edit(2, {"name": "theirs"}, modified=T)
    worse.delete(4, modified=T)
    worse.forget_requests()
    outcomes = items.write_many(
        [
            Write("create", fields={"name": "new"}, idempotency_key="k1"),
            Write("create", fields={"name": ""}, idempotency_key="k2"),
            Write("update", remote_id="1", fields={"name": "ours"}, if_version=records[0].version),
            Write("update", remote_id="2", fields={"name": "ours"}, if_version=records[1].version),
            Write("update", remote_id="99", fields={"name": "ours"}),
            Write("update", remote_id="4", fields={"name": "ours"}),
            Write("delete", remote_id="3", if_version=records[2].version),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [
        Record,
        Rejected,
        Record,
        VersionMoved,
        NotFound,
        NotFound,
        type(None),
    ]
    assert len(worse.requests("POST")) == 1
    assert worse.items[5]["reference"] == "k1"
    assert {key: item["name"] for key, item in worse.live().items()} == {1: "ours", 2: "theirs", 5: "new"}


def test_a_batch_is_cut_to_what_the_api_takes(worse: WorseApi, items: WorseItems) -> None:
    """More writes than a batch may have go in several, and what the first did is told though the second is refused."""
    writes = [Write("create", fields={"name": f"n{number}"}, idempotency_key=f"k{number}") for number in range(150)]
    assert all(isinstance(outcome, Record) for outcome in items.write_many(writes))
    real = items.http.request

    def limited_at_second(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        worse.limit(60)
        return answer

    items.http.request = limited_at_second  # type: ignore[method-assign]
    outcomes = items.write_many([Write("create", fields={"name": "x"}, idempotency_key=f"j{n}") for n in range(150)])
    assert [type(outcome) for outcome in outcomes] == [Record] * 100 + [RateLimited] * 50
    with pytest.raises(RateLimited):
        items.write_many(writes)
    assert len(worse.live()) == 250


def test_a_batch_that_is_refused_as_a_whole_is_halved(worse: WorseApi, items: WorseItems) -> None:
    """A body that is too long, or one poison entry, costs some requests more; the other entries are done."""
    real = items.http.request

    def refusing(method: str, url: str, *, content: Any = None, **more: Any) -> Any:
        if content is not None and any(entry["name"] == "poison" for entry in content.get("create", ())):
            worse.faults.answers = [(413, {}, b"too long")]
        return real(method, url, content=content, **more)

    items.http.request = refusing  # type: ignore[method-assign]
    names = [*(f"n{number}" for number in range(10)), "poison", *(f"m{number}" for number in range(10))]
    outcomes = items.write_many([Write("create", fields={"name": name}, idempotency_key=name) for name in names])
    assert [type(outcome) for outcome in outcomes] == [Record] * 10 + [Rejected] + [Record] * 10
    assert [outcome.fields["name"] for outcome in outcomes if isinstance(outcome, Record)] == [
        name for name in names if name != "poison"
    ]
    assert len(worse.live()) == 20
    worse.faults.answers = [(404, {}, b"")]
    with pytest.raises(Unusable, match="no such batch"):
        items.write_many([Write("delete", remote_id="1")])


def test_a_batch_whose_answer_is_lost_is_unknown_throughout(worse: WorseApi, items: WorseItems) -> None:
    """Each entry may be done: none is called undone."""
    worse.faults.lose_answers = 1
    outcomes = items.write_many([Write("create", fields={"name": "x"}, idempotency_key=f"k{n}") for n in range(3)])
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * 3


@pytest.mark.parametrize(
    "answer, error",
    (
        ((200, b"not JSON"), BadAnswer),
        ((200, b'{"items": []}'), BadAnswer),
        ((404, b""), Unusable),
        ((401, b""), Unusable),
        ((500, b""), Unavailable),
        ((400, b'{"code": "no"}'), Rejected),
    ),
)
def test_a_listing_that_fails_says_why(
    worse: WorseApi, items: WorseItems, answer: tuple[int, bytes], error: type
) -> None:
    """Nothing that goes wrong looks like an empty list."""
    fill(worse, 1)
    worse.faults.answers = [(answer[0], {}, answer[1])]
    with pytest.raises(error):
        items.list_changes(None)


def test_a_page_that_is_gone_is_an_empty_one(worse: WorseApi, items: WorseItems) -> None:
    """When the list became shorter meanwhile, a 400 for its last page does not end the listing."""
    fill(worse, 250)
    first = items.list_changes(None)
    worse.faults.answers = [(400, {}, b'{"code": "invalid_page_number"}')]
    second = items.list_changes(first.next_cursor)
    assert second.records == [] and second.next_cursor is not None
    found, _ = listed(items, second.next_cursor)
    assert len(found) == 200


def test_a_piece_that_is_no_record_is_set_aside(worse: WorseApi, items: WorseItems) -> None:
    """The page's other records flow, and what is wrong is kept with its reason."""
    page = b'[{"name": "no id"}, 17, {"id": 3, "name": "x", "date_modified": "soon"}, {"id": 4, "name": "good"}]'
    worse.faults.answers = [(200, {"X-Total-Pages": "1"}, page)]
    listing = items.list_changes(None)
    assert [record.remote_id for record in listing.records] == ["4"]
    assert [bad.reason for bad in listing.unreadable] == [
        "it has no id: id is null",
        "a record must be a JSON object, this is a number",
        "date_modified is no time: 'soon'",
    ]
    assert listing.unreadable[0].original == '{"name": "no id"}'


@pytest.mark.parametrize("cursor", ("x", 17, {"unknown": 1}, {"since": "yesterday"}, []))
def test_a_cursor_of_something_else_is_expired(items: WorseItems, cursor: Any) -> None:
    """What an older version of the connector left behind leads to a new listing, not to a wrong one."""
    with pytest.raises(CursorExpired):
        items.list_changes(cursor)


@pytest.mark.parametrize("remote_id", ("..", ".", ""))
def test_an_id_cannot_lead_elsewhere(worse: WorseApi, items: WorseItems, remote_id: str) -> None:
    """A record called ``..`` would be the collection."""
    for call in (items.get, lambda one: items.delete(one, if_version=None)):
        with pytest.raises(Rejected):
            call(remote_id)
    assert worse.requests() == []


def test_an_id_is_quoted(worse: WorseApi, items: WorseItems) -> None:
    """Slashes, question marks and per cent signs in an id stay in it."""
    assert items.get("a/b?c=%2e") is None
    assert worse.requests()[0].path == "/items/a%2Fb%3Fc%3D%252e"


def test_fields_are_mapped_both_ways(items: WorseItems) -> None:
    """Columns name fields; what is not named stays away, and a partial row makes a partial record."""
    assert items.to_local({"name": "x", "views": 3}) == {"name": "x", "price": None}
    assert items.to_remote({"price": "1", "secret": 1}) == {"price": "1"}
