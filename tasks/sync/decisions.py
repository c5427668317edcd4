"""What is to be done about one entity, by what is seen of it: the link, the row, the record.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tasks.sync.connections import SyncKind
from tasks.sync.links import EMPTY, Link
from tasks.sync.local import Row
from tasks.sync.merge import Base, Clash, Loss, Side, merge


class Do(StrEnum):
    """What is to be done on one side."""

    NOTHING = "nothing"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as it was read: ``values`` None: it is gone."""

    remote_id: str
    values: Mapping[str, Any] | None
    version: str | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows for both sides and for the link.

    ``link``         as it is to be stored; None: there is none, or it is to be forgotten
    ``local``        with ``local_values``: the columns to write (all of them for a create)
    ``remote``       with ``remote_values``: the columns to push; it is done by a push, never by who has read a page
    """

    before: Link | None
    link: Link | None
    row: Row | None
    local: Do = Do.NOTHING
    local_values: Mapping[str, Any] = field(default_factory=dict)
    remote: Do = Do.NOTHING
    remote_values: Mapping[str, Any] = field(default_factory=dict)
    losses: tuple[Loss, ...] = ()
    clashes: tuple[Clash, ...] = ()

    @property
    def forget(self) -> bool:
        """Both sides are gone: so goes the link."""
        return self.link is None and self.before is not None


def decide(kind: SyncKind, link: Link | None, row: Row | None, seen: Seen | None, read_at: datetime) -> Decision:
    """What follows from this state.

    ``seen``     the record as it was read at ``read_at``; None: not read, it is taken to be as it was last
    """
    if seen is None:
        return _unread(kind, link, row, read_at)
    if seen.values is None:
        return _gone(kind, link, row, read_at)
    if link is None:
        return _unlinked(kind, row, seen, read_at)
    if row is None:
        return _row_deleted(kind, link, seen, read_at)
    return _both(kind, link, row, seen, read_at)


def _both(kind: SyncKind, link: Link, row: Row, seen: Seen, read_at: datetime) -> Decision:
    assert seen.values is not None
    merged = merge(
        kind.columns,
        link.base,
        row.values,
        seen.values,
        policy=kind.policy_of,
        local_at=row.changed_at,
        remote_at=seen.changed_at,
    )
    return Decision(
        before=link if link.id is not None else None,
        link=link.agreed(merged.base, version=seen.version, read_at=read_at, remote_id=seen.remote_id),
        row=row,
        local=Do.UPDATE if merged.to_local else Do.NOTHING,
        local_values=merged.to_local,
        remote=Do.UPDATE if merged.to_remote else Do.NOTHING,
        remote_values=merged.to_remote,
        losses=tuple(merged.losses),
        clashes=tuple(merged.clashes),
    )


def _unlinked(kind: SyncKind, row: Row | None, seen: Seen, read_at: datetime) -> Decision:
    """A record without a link; ``row``: one that matches it, and has no link either."""
    if row is not None:
        return _both(kind, Link(None, row.id, seen.remote_id, None, EMPTY), row, seen, read_at)
    return _copy_to_local(Link(None, None, seen.remote_id, None, EMPTY), None, seen, read_at)


def _copy_to_local(link: Link, before: Link | None, seen: Seen, read_at: datetime) -> Decision:
    values = dict(seen.values or {})
    return Decision(
        before=before,
        link=link.agreed(Base(values, values), version=seen.version, read_at=read_at, remote_id=seen.remote_id),
        row=None,
        local=Do.CREATE,
        local_values=values,
    )


def _row_deleted(kind: SyncKind, link: Link, seen: Seen, read_at: datetime) -> Decision:
    assert seen.values is not None
    edited = dict(seen.values) != dict(link.base.remote)
    if edited and kind.delete_or_edit == "edit":
        return _copy_to_local(link, link, seen, read_at)
    kept = link.agreed(Base(dict(seen.values), dict(seen.values)), version=seen.version, read_at=read_at)
    kept = replace(kept, remote_id=seen.remote_id)
    if not kind.may_delete("remote"):
        return Decision(before=link, link=kept, row=None)
    return Decision(before=link, link=kept, row=None, remote=Do.DELETE)


def _gone(kind: SyncKind, link: Link | None, row: Row | None, read_at: datetime) -> Decision:
    if link is None:
        return Decision(before=None, link=None, row=None)
    if row is None:
        return Decision(before=link, link=None, row=None)
    if dict(row.values) != dict(link.base.local) and kind.delete_or_edit == "edit":
        return _create(kind, replace(link, remote_id=None), link, row, read_at)
    # Not deleted here: first the guard must have seen how many are to go.
    staged = link.agreed(link.base, version=link.version, read_at=read_at, gone=True)
    return Decision(before=link, link=staged, row=row, local=Do.DELETE if kind.may_delete("local") else Do.NOTHING)


def _create(kind: SyncKind, link: Link, before: Link | None, row: Row, read_at: datetime) -> Decision:
    """The row has no record (any more): one is to be made, and until then the link knows only the row."""
    return Decision(
        before=before,
        link=replace(link, gone_at=None).agreed(EMPTY, version=None, read_at=read_at),
        row=row,
        remote=Do.CREATE,
        remote_values={name: row.values[name] for name in kind.columns},
    )


def _unread(kind: SyncKind, link: Link | None, row: Row | None, read_at: datetime) -> Decision:
    """The table's side alone, against the last common state."""
    if link is None:
        if row is None:
            return Decision(before=None, link=None, row=None)
        return _create(kind, Link(None, row.id, None, None, EMPTY), None, row, read_at)
    if link.remote_id is None:
        if row is None:
            return Decision(before=link, link=None, row=None)
        return _create(kind, link, link, row, read_at)
    if link.gone_at is not None:
        return _gone(kind, link, row, read_at)
    if row is None:
        if kind.may_delete("remote"):
            return Decision(before=link, link=link, row=None, remote=Do.DELETE)
        return Decision(before=link, link=link, row=None)
    changed = {
        name: row.values[name]
        for name in kind.columns
        if name in link.base.local and row.values[name] != link.base.local[name]
    }
    return Decision(before=link, link=link, row=row, remote=Do.UPDATE if changed else Do.NOTHING, remote_values=changed)


def written(link: Link, sent: Mapping[str, Any], returned: Mapping[str, Any] | None) -> Link:
    """The link as if both sides had agreed on what we sent, each in its own form: the API's is what it returned.

    Without what it ``returned`` (its answer was lost), what was sent stands for it; the next reading tells.
    """
    kept = {name: (returned or sent).get(name, value) for name, value in sent.items()}
    return replace(link, base=Base({**link.base.local, **sent}, {**link.base.remote, **kept}), base_text=None)


__all__ = ["Decision", "Do", "Loss", "Seen", "Side", "decide", "written"]
