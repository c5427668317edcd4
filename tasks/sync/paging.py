"""How an API hands out a long list: by page numbers, offsets, tokens, links, or after the last record.

Where a listing stands is plain JSON (`State`), so that the next page can be another job on another host.

Numbers and offsets shift while somebody edits or deletes: read forwards, the record that slides from the next page onto the
one just read is never seen.  `PageNumbers` and `Offsets` therefore read backwards, from the last page to the first: what slides
then slides onto a page that is still to come.  That holds for lists whose order is by last change or by id, oldest first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tasks.sync.http_answer import Answer, unusable_answer
from tasks.sync.json_paths import value_at

State = Any
Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Seen:
    """One page as it came: where the listing stood (``state``, None: the first page), the answer, its JSON, its records."""

    state: State | None
    answer: Answer
    content: Any
    records: Sequence[Any]


class Paging(Protocol):
    """One way of paging."""

    @property
    def may_shrink(self) -> bool:
        """Whether a 400 or 404 for a page other than the first only says that the list has become shorter."""

    def ask(self, state: State | None) -> tuple[str | None, Query]:
        """How to ask for this page: its whole URL where the API hands out URLs, and what to add to the listing's query."""

    def after(self, seen: Seen) -> State | None:
        """Where the page that follows stands; None: this was the last."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A token for the next page, in the body (``token_at``, see `tasks.sync.json_paths`) or in a header (``token_header``)."""

    param: str
    token_at: str | None = None
    token_header: str | None = None
    size_param: str | None = None
    page_size: int = 100
    may_shrink: ClassVar[bool] = False

    def ask(self, state: State | None) -> tuple[str | None, Query]:
        return None, {**_size(self), **({} if state is None else {self.param: state})}

    def after(self, seen: Seen) -> State | None:
        if self.token_header is not None:
            return _moved(seen, seen.answer.headers.get(self.token_header))
        return _moved(seen, value_at(seen.content, self.token_at or ""))


@dataclass(frozen=True, slots=True)
class NextLinks:
    """The next page's URL: in the ``Link`` header with ``rel=next`` (RFC 8288), or in the body (``next_at``)."""

    next_at: str | None = None
    size_param: str | None = None
    page_size: int = 100
    may_shrink: ClassVar[bool] = False

    def ask(self, state: State | None) -> tuple[str | None, Query]:
        return (None, _size(self)) if state is None else (str(state), {})

    def after(self, seen: Seen) -> State | None:
        if self.next_at is not None:
            return _moved(seen, value_at(seen.content, self.next_at))
        return _moved(seen, next_link(seen.answer.headers.get("Link", "")))


@dataclass(frozen=True, slots=True)
class AfterLast:
    """The page after the last record of the one before: ``field`` of it in ``param`` (``starting_after=ID``).

    ``more_at``: where the body says whether there is more; without it, a page with no records ends the list.
    """

    param: str
    field: str = "id"
    more_at: str | None = None
    size_param: str | None = None
    page_size: int = 100
    may_shrink: ClassVar[bool] = False

    def ask(self, state: State | None) -> tuple[str | None, Query]:
        return None, {**_size(self), **({} if state is None else {self.param: state})}

    def after(self, seen: Seen) -> State | None:
        if not seen.records or (self.more_at is not None and not value_at(seen.content, self.more_at)):
            return None
        last = value_at(seen.records[-1], self.field)
        if last is None:
            raise unusable_answer(seen.answer, f"its last record has no {self.field} for the next page to begin after")
        return _moved(seen, str(last))


@dataclass(frozen=True, slots=True)
class _Numbered:
    """What pages by number and by offset have in common.

    ``pages_header``, ``pages_at``, ``total_header``, ``total_at``: where the number of pages, or of records, stands.  If nowhere,
    the last page is looked for by doubling and halving.  A smaller page than asked for is the API's cap, not the end.
    """

    param: str
    size_param: str | None
    page_size: int = 100
    pages_header: str | None = None
    pages_at: str | None = None
    total_header: str | None = None
    total_at: str | None = None
    may_shrink: ClassVar[bool] = True

    def after(self, seen: Seen) -> State | None:
        if seen.state is None:
            return self._last_page(seen)
        return _before(seen.state, len(seen.records))

    def _last_page(self, seen: Seen) -> State | None:
        """After the first page: the last, if the API says how many there are; else the first step of looking for it."""
        count = len(seen.records)
        if count == 0:
            return None
        pages, total = _number(seen, self.pages_header, self.pages_at), _number(seen, self.total_header, self.total_at)
        if pages is None and total is not None:
            pages = -(-total // count)
        if pages is None:
            return {"index": 1, "size": count, "full": 0}
        return None if pages <= 1 else {"index": pages - 1, "size": count}


@dataclass(frozen=True, slots=True)
class PageNumbers(_Numbered):
    """``page=1, 2, …``, read from the last to the first (see above), so that the first page comes twice; see `_Numbered`."""

    param: str = "page"
    size_param: str | None = "per_page"
    first: int = 1

    def ask(self, state: State | None) -> tuple[str | None, Query]:
        return None, {**_size(self), self.param: self.first + (0 if state is None else state["index"])}


@dataclass(frozen=True, slots=True)
class Offsets(_Numbered):
    """``offset=0, 100, …``, as `PageNumbers`; the steps are as long as the pages that come, whatever was asked for."""

    param: str = "offset"
    size_param: str | None = "limit"

    def ask(self, state: State | None) -> tuple[str | None, Query]:
        return None, {**_size(self), self.param: 0 if state is None else state["index"] * state["size"]}


def next_link(header: str) -> str | None:
    """The URL with ``rel="next"`` of a ``Link`` header (RFC 8288, section 3); None where there is none."""
    for found in re.finditer(r"<([^<>]*)>((?:\s*;\s*[^;,\"]+(?:\"[^\"]*\")?)*)", header):
        relations = re.search(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", found[2], re.IGNORECASE)
        if relations and "next" in (relations[1] or relations[2] or "").lower().split():
            return found[1]
    return None


def _size(paging: Tokens | NextLinks | AfterLast | _Numbered) -> dict[str, str | int]:
    return {} if paging.size_param is None else {paging.size_param: paging.page_size}


def _moved(seen: Seen, following: Any) -> State | None:
    """The next state; an API that hands out the same one again would be read for ever."""
    if following in (None, "", False):
        return None
    if following == seen.state:
        raise unusable_answer(seen.answer, "the next page is this page again")
    return following


def _before(state: Mapping[str, int], count: int) -> State | None:
    """The page before; or, while the last is being looked for (``full``, ``empty``: what is known), the next to try."""
    index, size = state["index"], state["size"]
    if "full" not in state:
        return None if index == 0 else {"index": index - 1, "size": size}
    if 0 < count < size:
        # Neither full nor empty: the last page itself, and it has just been read.
        return {"index": index - 1, "size": size}
    full, empty = (index, state.get("empty")) if count else (state["full"], index)
    if empty is None:
        return {"index": 2 * index + 1, "size": size, "full": full}
    if empty - full > 1:
        return {"index": (full + empty) // 2, "size": size, "full": full, "empty": empty}
    # Read again, the first page too: since it was tried, records may have slid onto it.
    return {"index": full, "size": size}


def _number(seen: Seen, header: str | None, path: str | None) -> int | None:
    value = seen.answer.headers.get(header) if header is not None else None
    if path is not None:
        value = value_at(seen.content, path)
    try:
        number = int(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if number >= 0 else None
