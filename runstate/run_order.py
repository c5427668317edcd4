"""Which runs stand on a page of the list, read out of indexes however many runs there are.

An index answers for one kind and one status in the order of a time; so a filter is taken apart into such looks, each of which
reads no more rows than the page has, and the page is the first of what they find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from runstate.statuses import ENDED, RunStatus

Order = Literal["newest", "oldest", "finished"]
_COLUMN: Mapping[str, tuple[str, str, str]] = {
    "newest": ("requested_at", "DESC", "<"),
    "oldest": ("requested_at", "ASC", ">"),
    "finished": ("finished_at", "DESC", "<"),
}


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs: all that match everything that is given.  ``key_hashes``: of the key, one for each kind it may be of."""

    statuses: Sequence[str] = ()
    kind: str | None = None
    key_hashes: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: after the row with this time and id."""

    at: datetime
    run_id: str


def sorted_by(order: Order, table: str = "") -> str:
    """The order of the list.  Both columns run in one direction, as an index does: mixed, every row would be sorted first."""
    column, direction, _ = _COLUMN[order]
    return f"ORDER BY {table}{column} {direction}, {table}run_id {direction}"


def ids_of_page(
    which: RunFilter, order: Order, after: Place | None, kinds: Sequence[str], most: int
) -> tuple[str, dict[str, Any]]:
    """SQL for the ids of the first ``most`` that match, with its values.  ``kinds``: every kind that there are runs of."""
    column, _, beyond = _COLUMN[order]
    values: dict[str, Any] = {"ids": most}
    wanted = []
    if which.since is not None:
        wanted.append("requested_at >= :since")
        values["since"] = which.since
        if order == "finished":
            # No run ends before it is requested; this is what bounds the look into the index.
            wanted.append("finished_at >= :since")
    if which.until is not None:
        wanted.append("requested_at < :until")
        values["until"] = which.until
    if order == "finished":
        wanted.append("finished_at IS NOT NULL")
    if after is not None:
        wanted.append(f"{column} {beyond}= :at AND ({column} {beyond} :at OR run_id {beyond} :after_id)")
        values |= {"at": after.at, "after_id": after.run_id}
    if which.key_hashes:
        # A key has few runs beside all others: they are read whole.
        values |= {"hashes": list(which.key_hashes)}
        wanted.append("admission_hash IN :hashes")
        for name, value in (("kind", which.kind), ("status", list(which.statuses))):
            if value:
                wanted.append(f"{name} {'IN' if name == 'status' else '='} :{name}")
                values[name] = value
        return _look("ix_runs_admission", wanted, order), values
    looks = _looks(which, order, kinds)
    for number, (_, fixed) in enumerate(looks):
        values |= {f"{name}{number}": value for name, value in fixed.items()}
    arms = [
        _look(index, [*(f"{name} = :{name}{number}" for name in fixed), *wanted], order)
        for number, (index, fixed) in enumerate(looks)
    ]
    if len(arms) == 1:
        return arms[0], values
    united = " UNION ALL ".join(f"({arm})" for arm in arms)
    return f"SELECT run_id, {column} FROM ({united or _NONE}) looks {sorted_by(order)} LIMIT :ids", values


_NONE = "SELECT run_id, requested_at, finished_at FROM runs WHERE 1 = 0"


def _look(index: str, wanted: Sequence[str], order: Order) -> str:
    # Forced: the optimizer counts on finding the first rows soon, and walks through all runs where few match.
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    return f"SELECT run_id, {_COLUMN[order][0]} FROM runs FORCE INDEX ({index}){where} {sorted_by(order)} LIMIT :ids"


def _looks(which: RunFilter, order: Order, kinds: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """``(index, what is fixed in it)`` of each look."""
    statuses = which.statuses
    if order == "finished":
        if not statuses and which.kind is None:
            return [("ix_runs_finished", {})]
        ended = [status.value for status in ENDED if not statuses or status.value in statuses]
        of_kinds = [which.kind] if which.kind is not None else kinds
        return [("ix_runs_kind_status_finished", {"kind": k, "status": s}) for k in of_kinds for s in ended]
    if which.kind is None:
        if not statuses:
            return [("ix_runs_requested", {})]
        return [("ix_runs_status_requested", {"status": status}) for status in statuses]
    every = statuses or [status.value for status in RunStatus]
    return [("ix_runs_kind_status_requested", {"kind": which.kind, "status": status}) for status in every]
