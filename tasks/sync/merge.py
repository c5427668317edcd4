"""The merge of one record: by field, against the last common state.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Values = Mapping[str, Any]


class Policy(StrEnum):
    """What happens to a field that both sides have changed, to different values."""

    LOCAL = "local"
    """The table's value stays and is written to the API."""
    REMOTE = "remote"
    """The API's value is written into the table."""
    NEWEST = "newest"
    """The side that was changed last wins, by the two servers' own times; a tie, or a time that is not known: remote."""
    MANUAL = "manual"
    """Neither is written until a person decides; the other fields go on."""


class Side(StrEnum):
    """The two sides of a sync."""

    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Base:
    """The last common state, as each side keeps it: an API that trims or rounds what it is given still counts as equal."""

    local: Values
    remote: Values


@dataclass(frozen=True, slots=True)
class Loss:
    """A value that a policy overwrote: kept in the audit."""

    field: str
    loser: Side
    lost: Any
    kept: Any


@dataclass(frozen=True, slots=True)
class Clash:
    """A field that waits for a person."""

    field: str
    base: Any
    local: Any
    remote: Any


@dataclass(slots=True)
class Merged:
    """What the merge asks for.

    ``to_local``   the fields to be written into the table, ``to_remote`` to the API
    ``base``       the common state once ``to_local`` is written: what is still to be pushed is a local change against it
    """

    base: Base
    to_local: dict[str, Any] = field(default_factory=dict)
    to_remote: dict[str, Any] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)


def merge(
    fields: Iterable[str],
    base: Base,
    local: Values,
    remote: Values,
    *,
    policy: Callable[[str], Policy],
    local_at: datetime | None = None,
    remote_at: datetime | None = None,
) -> Merged:
    """Merge ``local`` and ``remote``, each with all of ``fields``, against ``base``.

    ``local_at``, ``remote_at``  when each side was last changed, by its own server's clock (for ``newest`` alone)
    """
    new_local, new_remote = dict(base.local), dict(base.remote)
    merged = Merged(Base(new_local, new_remote))
    for name in fields:
        ours, theirs = local.get(name), remote.get(name)
        known = name in base.local and name in base.remote
        ours_changed = not known or ours != base.local[name]
        theirs_changed = not known or theirs != base.remote[name]
        if ours_changed and theirs_changed and ours != theirs:
            chosen = policy(name)
            if chosen is Policy.MANUAL:
                merged.clashes.append(Clash(name, base.remote.get(name), ours, theirs))
                # In neither base: until somebody decides, neither value is a change to be written.
                new_local.pop(name, None)
                new_remote.pop(name, None)
                continue
            winner = _winner(chosen, local_at, remote_at)
            if winner is Side.LOCAL:
                merged.losses.append(Loss(name, Side.REMOTE, theirs, ours))
                merged.to_remote[name] = ours
                # As if both had agreed on the API's value and the table had then been edited: that is what is to be pushed.
                new_local[name] = new_remote[name] = theirs
            else:
                merged.losses.append(Loss(name, Side.LOCAL, ours, theirs))
                merged.to_local[name] = theirs
                new_local[name] = new_remote[name] = theirs
        elif theirs_changed and ours != theirs:
            merged.to_local[name] = theirs
            new_local[name] = new_remote[name] = theirs
        elif ours_changed and ours != theirs:
            merged.to_remote[name] = ours
        elif ours_changed or theirs_changed:
            new_local[name] = new_remote[name] = theirs
    return merged


def _winner(policy: Policy, local_at: datetime | None, remote_at: datetime | None) -> Side:
    if policy is Policy.LOCAL:
        return Side.LOCAL
    if policy is Policy.NEWEST and local_at is not None and remote_at is not None and local_at > remote_at:
        return Side.LOCAL
    return Side.REMOTE
