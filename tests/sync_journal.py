"""Who wrote what on either side of a sync, and what became of it: nothing may be lost that nobody decided against.

Every value is written once, so it can be found again.  Each edit knows exactly what it wrote over: on the table's side it holds
the row's lock, on the API's side it makes its write conditional.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError

from sqlalchemy import Connection, Engine, text

from runstate.transaction import in_transaction
from tasks.sync.outbox import record_change
from tests.kinto_server import BUCKET, KintoServer

Fields = Mapping[str, Any]
FIELDS = ("price", "stock")
"""What is edited; ``name`` is given once, and says which row and which record are the same thing."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit of the thing called ``name``: ``wrote`` empty: a delete; ``over``: what it saw there, None: it was created."""

    side: str
    name: str
    wrote: Fields
    over: Fields | None


@dataclass(frozen=True, slots=True)
class Decided:
    """A value that a policy decided against, as the audit has it; ``side``: whose value it was.

    ``in_doubt``  the table's value that won had been sent, and no answer was recorded: somebody may have seen it at the API
                  and written over it before the record was read, and then nobody can tell who was first
    """

    side: str
    field: str
    lost: Any
    kept: Any
    in_doubt: bool


AUDIT = "SELECT side, action, before_state, after_state FROM sync_audit ORDER BY id"


def decided_in(rows: Iterable[Sequence[Any]]) -> list[Decided]:
    """What policies wrote into the audit, from the rows of `AUDIT`."""
    answered: set[tuple[str, Any]] = set()
    found: list[Decided] = []
    for side, action, before, after in rows:
        state = json.loads(after) if after else {}
        if action == "lost":
            found += [
                Decided(side, name, value, state[name], side == "remote" and (name, state[name]) not in answered)
                for name, value in json.loads(before).items()
            ]
        elif side == "remote":
            answered |= set(state.items())
    return found


@dataclass(slots=True)
class Journal:
    """Every edit, in no order that matters: what came after what is told by what each wrote over."""

    edits: list[Edit] = field(default_factory=list)
    _last: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def fresh(self) -> dict[str, Any]:
        """Values that nobody has written yet, one for each field."""
        with self._guard:
            self._last += 1
            return {"price": f"{self._last}.00", "stock": self._last}

    def note(self, edit: Edit) -> None:
        """Write an edit down once it is made."""
        with self._guard:
            self.edits.append(edit)

    def fates(
        self, final: Mapping[str, Fields], decided: Sequence[Decided], *, policies: Mapping[str, str]
    ) -> tuple[Counter[str], list[str]]:
        """What became of every value that was written, how often; and what is wrong with that.

        ``final``  both sides' state now, by name; ``policies``: of each field

        A value is in the final state, or somebody who saw it wrote over it or deleted it, or a policy decided against it.
        A policy decides between values that nobody had seen when they wrote the other one.  What was deleted stays deleted,
        unless somebody had written what the one who deleted it had not seen.
        """
        parents = {
            (edit.name, name, value): (edit.over or {}).get(name)
            for edit in self.edits
            for name, value in edit.wrote.items()
        }
        seen_and_gone = {
            (edit.name, name, edit.over[name])
            for edit in self.edits
            if edit.over is not None
            for name in (edit.wrote or edit.over)
        }
        lost = {(one.field, one.lost): one for one in decided}
        fates: Counter[str] = Counter()
        problems: list[str] = []
        for name, column, value in parents:
            if name in final and final[name].get(column) == value:
                fates["final"] += 1
            elif (name, column, value) in seen_and_gone:
                fates["written over or deleted"] += 1
            elif (column, value) in lost:
                fates["lost by policy"] += 1
            else:
                problems.append(f"{name}: {column}={value!r} is lost, and nobody decided against it")
        problems += self._invented(final, parents)
        problems += self._wrongly_decided(decided, parents, policies)
        problems += self._undead(final, parents)
        fates["deletes"] = sum(not edit.wrote for edit in self.edits)
        return fates, problems

    def _invented(self, final: Mapping[str, Fields], parents: Mapping[Any, Any]) -> Iterator[str]:
        for name, values in final.items():
            for column in FIELDS:
                if (name, column, values.get(column)) not in parents:
                    yield f"{name}: nobody wrote {column}={values.get(column)!r}"

    def _wrongly_decided(
        self, decided: Sequence[Decided], parents: Mapping[Any, Any], policies: Mapping[str, str]
    ) -> Iterator[str]:
        names = {(column, value): name for name, column, value in parents}
        for one in decided:
            name = names.get((one.field, one.lost))
            if name is None or (one.field, one.kept) not in names:
                yield f"the audit's {one} is about values that nobody wrote"
            elif not one.in_doubt and one.kept in _before(parents, name, one.field, one.lost):
                yield f"{name}: {one}, but the one who wrote {one.lost!r} had seen {one.kept!r}"
            elif policies[one.field] == one.side:
                yield f"{name}: {one}, against the policy {policies[one.field]!r}"

    def _undead(self, final: Mapping[str, Fields], parents: Mapping[Any, Any]) -> Iterator[str]:
        for edit in self.edits:
            if edit.wrote or edit.name not in final:
                continue
            assert edit.over is not None
            known = {
                (column, value)
                for column in FIELDS
                for value in (edit.over[column], *_before(parents, edit.name, column, edit.over[column]))
            }
            unseen = [key for key in parents if key[0] == edit.name and key[1:] not in known]
            if not unseen:
                yield f"{edit.name}: deleted ({edit.side}), and there again with {dict(final[edit.name])}"


def _before(parents: Mapping[Any, Any], name: str, column: str, value: Any) -> Iterator[Any]:
    """The values that were written over on the way to this one."""
    while (value := parents.get((name, column, value))) is not None:
        yield value


class RowEdits:
    """The table's side: an application that records its changes in their own transactions."""

    side = "local"

    def __init__(self, engine: Engine, journal: Journal, connection: str = "shop") -> None:
        self.engine, self.journal, self.connection = engine, journal, connection

    def state(self) -> dict[str, dict[str, Any]]:
        """What is there, by name; raises `ValueError` where two have one name."""
        rows = in_transaction(
            self.engine, lambda c: list(c.execute(text("SELECT name, CAST(price AS CHAR), stock FROM items")))
        )
        return _by_name({"name": name, "price": price, "stock": stock} for name, price, stock in rows)

    def create(self) -> None:
        values = self.journal.fresh()
        name = f"L{values['stock']}"

        def steps(connection: Connection) -> None:
            row = connection.execute(
                text("INSERT INTO items (name, price, stock) VALUES (:name, :price, :stock)"), {"name": name, **values}
            ).lastrowid
            record_change(connection, self.connection, "items", row)

        in_transaction(self.engine, steps)
        self.journal.note(Edit(self.side, name, values, None))

    def edit(self, name: str, columns: Sequence[str]) -> bool:
        """Write new values into these columns, if the thing is there."""
        values = {column: value for column, value in self.journal.fresh().items() if column in columns}
        sets = ", ".join(f"{column} = :{column}" for column in values)
        return self._change(name, values, f"UPDATE items SET {sets} WHERE id = :id")

    def delete(self, name: str) -> bool:
        """Delete it, if it is there."""
        return self._change(name, {}, "DELETE FROM items WHERE id = :id")

    def _change(self, name: str, values: Fields, statement: str) -> bool:
        def steps(connection: Connection) -> Fields | None:
            row = connection.execute(
                text("SELECT id, CAST(price AS CHAR) AS price, stock FROM items WHERE name = :name FOR UPDATE"),
                {"name": name},
            ).one_or_none()
            if row is None:
                return None
            connection.execute(text(statement), {"id": row.id, **values})
            record_change(connection, self.connection, "items", row.id)
            return {"price": row.price, "stock": row.stock}

        over = in_transaction(self.engine, steps)
        if over is not None:
            self.journal.note(Edit(self.side, name, values, over))
        return over is not None


class RecordEdits:
    """The API's side: somebody else, who goes past nginx and its faults."""

    side = "remote"

    def __init__(self, kinto: KintoServer, journal: Journal) -> None:
        self.kinto, self.journal = kinto, journal

    def state(self) -> dict[str, dict[str, Any]]:
        """What is there, by name; raises `ValueError` where two have one name."""
        return _by_name(
            {name: record.get(name) for name in ("name", *FIELDS)} for record in self.kinto.records("items").values()
        )

    def create(self) -> None:
        values = self.journal.fresh()
        name = f"R{values['stock']}"
        self.kinto.put("items", name.lower(), name=name, **values)
        self.journal.note(Edit(self.side, name, values, None))

    def edit(self, name: str, columns: Sequence[str]) -> bool:
        """Write new values into these fields, if the thing is there."""
        return self._change(name, {k: v for k, v in self.journal.fresh().items() if k in columns})

    def delete(self, name: str) -> bool:
        """Delete it, if it is there."""
        return self._change(name, {})

    def _change(self, name: str, values: Fields) -> bool:
        while True:
            found = [record for record in self.kinto.records("items").values() if record.get("name") == name]
            if not found:
                return False
            (record,) = found
            path = f"/buckets/{BUCKET}/collections/items/records/{record['id']}"
            version = f'"{record["last_modified"]}"'
            try:
                if values:
                    self.kinto.call("PATCH", path, {"data": values}, If_Match=version)
                else:
                    self.kinto.call("DELETE", path, If_Match=version)
            except HTTPError as error:
                if error.code not in (404, 412):
                    raise
                continue
            over = {column: record.get(column) for column in FIELDS}
            self.journal.note(Edit(self.side, name, values, over))
            return True


def _by_name(things: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for thing in things:
        name = thing.pop("name")
        if name in found:
            raise ValueError(f"{name} is there twice: {found[name]} and {thing}")
        found[name] = thing
    return found


def edit_randomly(rng: random.Random, side: RowEdits | RecordEdits) -> None:
    """One edit, delete or create on this side; half of them meet the same few things."""
    chance = rng.random()
    if chance < 0.15:
        side.create()
        return
    while names := sorted(side.state()):
        name = rng.choice(names[:8]) if rng.random() < 0.5 else rng.choice(names)
        columns = rng.choice([("price",), ("stock",), FIELDS])
        if side.delete(name) if chance < 0.25 else side.edit(name, columns):
            return
    side.create()
