"""Links: which row is which record, and what both last had in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text, update

from tasks.sync.merge import Base
from tasks.sync.statements import Literal, literals, write_rows
from tasks.sync.tables import sync_links
from tasks.sync.values import dump, hash_of, hash_of_text, load

_T = sync_links.c
_PART = 500


class Pair(NamedTuple):
    """Which connection, which kind of record."""

    connection: str
    kind: str


@dataclass(frozen=True, slots=True)
class Link:
    """One row and one record that belong together; ``id`` None: not stored yet.

    ``remote_id`` None: the record is yet to be made.  ``gone_at``: the record is gone, the row is about to go.
    """

    id: int | None
    local_id: str | None
    remote_id: str | None
    version: str | None
    base: Base
    local_hash: str = ""
    remote_hash: str = ""
    seq: int = 0
    read_at: datetime | None = None
    gone_at: datetime | None = None
    base_text: str | None = field(default=None, compare=False)
    """``base.remote`` as it is stored, where it has been written out already."""

    def agreed(
        self, base: Base, *, version: str | None, read_at: datetime, gone: bool = False, remote_id: str | None = None
    ) -> Link:
        """The link after a new common state, with ``remote_id``: of this record."""
        text = dump(base.remote)
        remote_hash = hash_of_text(text)
        return Link(
            self.id,
            self.local_id,
            remote_id or self.remote_id,
            version,
            base,
            remote_hash if base.local is base.remote or base.local == base.remote else hash_of(base.local),
            remote_hash,
            self.seq,
            read_at,
            (self.gone_at or read_at) if gone else None,
            text,
        )


EMPTY = Base({}, {})
_LINK = (
    _T.id,
    _T.local_id,
    _T.remote_id,
    _T.remote_version,
    _T.base,
    _T.base_local,
    _T.local_hash,
    _T.remote_hash,
    _T.seq,
    _T.read_at,
    _T.gone_at,
)
"""What a link is made of, in the order of `_link`; the other columns would cost a third of the reading."""


def by_remote(connection: Connection, pair: Pair, remote_ids: Iterable[str], *, lock: bool = True) -> dict[str, Link]:
    """The links of these records, by remote id, locked in order of their ids."""
    return {link.remote_id: link for link in _find(connection, pair, _T.remote_id, remote_ids, lock) if link.remote_id}


def by_local(connection: Connection, pair: Pair, local_ids: Iterable[str], *, lock: bool = True) -> dict[str, Link]:
    """The links of these rows, by local id, locked in order of their ids."""
    return {link.local_id: link for link in _find(connection, pair, _T.local_id, local_ids, lock) if link.local_id}


def by_id(connection: Connection, link_id: int, *, lock: bool = True) -> tuple[Pair, Link] | None:
    """One link and whose it is."""
    query = select(*_LINK, _T.connection, _T.kind).where(_T.id == link_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else (Pair(row.connection, row.kind), _link(row[: len(_LINK)]))


def _find(connection: Connection, pair: Pair, column: Any, ids: Iterable[str], lock: bool) -> Iterator[Link]:
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _PART):
        query = (
            select(*_LINK)
            .where(_T.connection == pair.connection, _T.kind == pair.kind, column.in_(wanted[start : start + _PART]))
            .order_by(column)
        )
        yield from map(_link, connection.execute(query.with_for_update() if lock else query))


def _link(row: Sequence[Any]) -> Link:
    link_id, local_id, remote_id, version, base_text, kept_otherwise, local_hash, remote_hash, seq, read_at, gone_at = (
        row
    )
    remote = load(base_text)
    local = {**remote, **load(kept_otherwise)} if kept_otherwise else remote
    return Link(
        link_id, local_id, remote_id, version, Base(local, remote), local_hash, remote_hash, seq, read_at, gone_at
    )


_COLUMNS = (
    "connection, kind, local_id, remote_id, remote_version, base, base_local, local_hash, remote_hash, seq, read_at, gone_at,"
    " seen_run"
)
_UPDATE = (
    " ON DUPLICATE KEY UPDATE local_id = VALUES(local_id), remote_id = VALUES(remote_id),"
    " remote_version = VALUES(remote_version), base = VALUES(base), base_local = VALUES(base_local),"
    " local_hash = VALUES(local_hash), remote_hash = VALUES(remote_hash), seq = VALUES(seq), read_at = VALUES(read_at),"
    " gone_at = VALUES(gone_at), seen_run = COALESCE(VALUES(seen_run), seen_run)"
)


def save(connection: Connection, pair: Pair, links: Sequence[Link], *, seen_run: str | None = None) -> None:
    """Store links: new ones are inserted, those that were read under lock are updated, and their ``seq`` rises."""
    literal = literals(connection)
    same = f"{literal(pair.connection)}, {literal(pair.kind)}"
    seen = literal(seen_run)
    new = (f"({same}, {_values(link, literal)}, {seen})" for link in links if link.id is None)
    known = (f"({link.id}, {same}, {_values(link, literal)}, {seen})" for link in links if link.id is not None)
    # Apart: a new link must not be taken for an update of whichever link has one of its ids.
    write_rows(connection, f"INSERT INTO sync_links ({_COLUMNS}) VALUES ", new)
    write_rows(connection, f"INSERT INTO sync_links (id, {_COLUMNS}) VALUES ", known, _UPDATE)


def _values(link: Link, literal: Literal) -> str:
    base = link.base
    # A field that waits for a person stands in neither.
    kept_otherwise = (
        {}
        if base.local is base.remote
        else {name: value for name, value in base.local.items() if base.remote.get(name) != value}
    )
    return (
        f"{literal(link.local_id)}, {literal(link.remote_id)}, {literal(link.version)},"
        f" {literal(link.base_text or dump(dict(base.remote)))}, {literal(dump(kept_otherwise) if kept_otherwise else None)},"
        f" {literal(link.local_hash or hash_of(base.local))}, {literal(link.remote_hash or hash_of(base.remote))},"
        f" {link.seq + 1}, {literal(link.read_at)}, {literal(link.gone_at)}"
    )


def drop(connection: Connection, ids: Iterable[int]) -> None:
    """Forget these links: both sides are gone."""
    wanted = sorted(ids)
    for start in range(0, len(wanted), _PART):
        connection.execute(sync_links.delete().where(_T.id.in_(wanted[start : start + _PART])))


def mark_seen(connection: Connection, link_ids: Iterable[int], run_id: str) -> None:
    """A full listing had these records."""
    wanted = sorted(link_ids)
    for start in range(0, len(wanted), _PART):
        connection.execute(update(sync_links).where(_T.id.in_(wanted[start : start + _PART])).values(seen_run=run_id))


def unseen(connection: Connection, pair: Pair, run_id: str, *, before: datetime, after: int, limit: int) -> list[Link]:
    """Links whose records a full listing, begun at ``before``, did not have, in order of their ids."""
    query = (
        select(*_LINK)
        .where(
            _T.connection == pair.connection,
            _T.kind == pair.kind,
            _T.remote_id.is_not(None),
            _T.gone_at.is_(None),
            _T.id > after,
            _T.created_at < before,
            (_T.seen_run.is_(None)) | (_T.seen_run != run_id),
        )
        .order_by(_T.id)
        .limit(limit)
    )
    return [_link(row) for row in connection.execute(query)]


def gone(connection: Connection, pair: Pair, *, after: int, limit: int) -> list[Link]:
    """Links whose records are gone and whose rows are about to go, under lock, in order of their ids."""
    query = (
        select(*_LINK)
        .where(_T.connection == pair.connection, _T.kind == pair.kind, _T.gone_at.is_not(None), _T.id > after)
        .order_by(_T.id)
        .limit(limit)
        .with_for_update()
    )
    return [_link(row) for row in connection.execute(query)]


def count(connection: Connection, pair: Pair) -> Mapping[str, int]:
    """How many links there are, and how many of their records are gone."""
    row = connection.execute(
        select(func.count(), func.count(_T.gone_at)).where(_T.connection == pair.connection, _T.kind == pair.kind)
    ).one()
    return {"links": int(row[0]), "gone": int(row[1])}


def page(connection: Connection, pair: Pair, after: int, limit: int) -> list[Link]:
    """Links in order of their ids, not locked."""
    query = (
        select(*_LINK)
        .where(_T.connection == pair.connection, _T.kind == pair.kind, _T.id > after)
        .order_by(_T.id)
        .limit(limit)
    )
    return [_link(row) for row in connection.execute(query)]


def now(connection: Connection) -> datetime:
    """The database's time."""
    at = connection.scalar(text("SELECT NOW(6)"))
    assert isinstance(at, datetime)
    return at
