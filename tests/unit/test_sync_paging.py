"""Ways of paging, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from tasks.sync.http_answer import Answer
from tasks.sync.paging import AfterLast, NextLinks, Offsets, PageNumbers, Paging, Seen, Tokens, next_link
from tasks.sync.remote_errors import BadAnswer


def after(paging: Paging, state: Any, content: Any = None, records: Any = (), **headers: str) -> Any:
    named = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return paging.after(Seen(state, Answer("GET /items", 200, named), content, records))


@pytest.mark.parametrize(
    "header, expected",
    (
        ("", None),
        ('<https://a/2>; rel="next"', "https://a/2"),
        ("<https://a/2>; rel=next", "https://a/2"),
        ('<https://a/1>; rel="prev", <https://a/3>; rel="next"', "https://a/3"),
        ('<https://a/?ids=1,2;3>; rel="next"', "https://a/?ids=1,2;3"),
        ('<https://a/2>; title="next, please"; rel="last next"', "https://a/2"),
        ('<https://a/2>; REL="NEXT"', "https://a/2"),
        ('<https://a/2>; rel="nextish"', None),
        ('<https://a/9>; rel="last"', None),
        ("<https://a/2", None),
        ("nonsense", None),
    ),
)
def test_the_next_link_is_found(header: str, expected: str | None) -> None:
    """Among others, with commas and semicolons in URLs and titles, in any case (RFC 8288)."""
    assert next_link(header) == expected


def test_links_are_followed_as_they_are() -> None:
    """The first page is asked for with its size, the others by their URL alone."""
    paging = NextLinks(size_param="limit", page_size=50)
    assert paging.ask(None) == (None, {"limit": 50})
    assert after(paging, None, Link='<https://a/2>; rel="next"') == "https://a/2"
    assert paging.ask("https://a/2") == ("https://a/2", {})
    assert after(paging, "https://a/2") is None
    assert after(NextLinks("links.next"), None, {"links": {"next": "https://a/2"}}) == "https://a/2"
    assert after(NextLinks("links.next"), None, {"links": {"next": None}}) is None


def test_tokens_are_handed_back() -> None:
    """From the body or a header; an empty token ends the list."""
    paging = Tokens("page_token", "meta.next")
    assert paging.ask(None) == (None, {})
    assert after(paging, None, {"meta": {"next": "t1"}}) == "t1"
    assert paging.ask("t1") == (None, {"page_token": "t1"})
    assert after(paging, "t1", {"meta": {"next": ""}}) is None
    assert after(paging, "t1", {"meta": {}}) is None
    assert after(Tokens("cursor", token_header="X-Next"), None, X_Next="t1") == "t1"


@pytest.mark.parametrize(
    "paging, state, content, headers",
    (
        (Tokens("t", "next"), "t1", {"next": "t1"}, {}),
        (NextLinks(), "https://a/2", None, {"Link": "<https://a/2>; rel=next"}),
        (AfterLast("after"), "7", None, {}),
    ),
)
def test_a_page_that_follows_itself_is_refused(
    paging: Paging, state: Any, content: Any, headers: dict[str, str]
) -> None:
    """An API that hands out the same place again would be read for ever."""
    with pytest.raises(BadAnswer, match="this page again"):
        after(paging, state, content, [{"id": 7}], **headers)


def test_after_the_last_record_comes_the_next_page() -> None:
    """The last id goes along; the API's own word, or an empty page, ends the list."""
    paging = AfterLast("starting_after", more_at="has_more")
    assert after(paging, None, {"has_more": True}, [{"id": 3}, {"id": 7}]) == "7"
    assert paging.ask("7") == (None, {"starting_after": "7"})
    assert after(paging, "7", {"has_more": False}, [{"id": 9}]) is None
    assert after(AfterLast("after"), "7", None, []) is None
    with pytest.raises(BadAnswer, match="no id"):
        after(paging, None, {"has_more": True}, [{"name": "x"}])


def pages(paging: PageNumbers | Offsets, total: int, cap: int, **headers: str) -> list[int]:
    """The offsets that are asked for, in order, of a list with so many records and pages no longer than ``cap``."""
    asked: list[int] = []
    state = None
    for _ in range(100):
        _, query = paging.ask(state)
        place = int(query[paging.param])
        offset = place if isinstance(paging, Offsets) else (place - 1) * cap
        asked.append(offset)
        state = after(paging, state, {}, [{}] * max(0, min(cap, total - offset)), **headers)
        if state is None:
            return asked
    raise AssertionError(f"does not end: {asked}")


@pytest.mark.parametrize(
    "total, headers, expected",
    (
        (0, {}, [0]),
        (30, {"X_Pages": "1"}, [0]),
        (250, {"X_Pages": "3"}, [0, 200, 100, 0]),
        (250, {"X_Total": "250"}, [0, 200, 100, 0]),
        (100, {"X_Total": "100"}, [0]),
        (100, {}, [0, 100, 0]),
        (250, {}, [0, 100, 300, 200, 100, 0]),
        (300, {}, [0, 100, 300, 200, 200, 100, 0]),
        (450, {"X_Pages": "many"}, [0, 100, 300, 700, 500, 400, 300, 200, 100, 0]),
    ),
)
@pytest.mark.parametrize("paging", (PageNumbers, Offsets))
def test_numbered_pages_are_read_from_the_last(
    paging: type[PageNumbers] | type[Offsets], total: int, headers: dict[str, str], expected: list[int]
) -> None:
    """Backwards, so that what slides while we read slides onto pages to come; also where the API's cap is below the size."""
    for page_size in (100, 1000):
        asked = pages(
            paging(page_size=page_size, pages_header="X-Pages", total_header="X-Total"), total, 100, **headers
        )
        assert asked == expected


@pytest.mark.parametrize("paging, second", ((PageNumbers(), 100), (Offsets(), 30)))
def test_a_short_page_may_be_the_apis_cap(paging: PageNumbers | Offsets, second: int) -> None:
    """Without a total, only an empty page shows that the one before it was the last; it is read once more after that."""
    assert pages(paging, 30, 100) == [0, second, 0]
