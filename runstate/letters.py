"""Dead letters as operators handle them: list, group, look at, edit, discard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text

from runstate import audit, documents
from runstate.audit import Actor
from runstate.errors import NotFound, RunstateError

_COLUMNS = (
    "id, run_id, job_no, kind, payload, edited_payload, error_class, error, traceback, attempts, crashes, fingerprint, status,"
    " first_failed_at, created_at, resolved_at, resolved_by, resolution, replay_run_id"
)


class LetterNotDead(RunstateError):
    """The letter is being replayed, or was replayed or discarded: whoever was first has decided."""

    def __init__(self, letter_id: int, status: str) -> None:
        super().__init__(f"dead letter {letter_id} is {status}, not dead: somebody has taken care of it")
        self.letter_id = letter_id
        self.status = status


@dataclass(frozen=True, slots=True)
class Letter:
    """One row of ``dead_letters``; ``status`` is dead, replaying, replayed or discarded."""

    id: int
    run_id: str
    job_no: int
    kind: str
    payload: Any
    edited_payload: Any
    error_class: str
    error: str
    traceback: str | None
    attempts: int
    crashes: int
    fingerprint: str
    status: str
    first_failed_at: datetime
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: str | None
    replay_run_id: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters: all that match everything that is given."""

    ids: Sequence[int] = ()
    run_id: str | None = None
    kind: str | None = None
    error_class: str | None = None
    fingerprint: str | None = None
    status: str | None = "dead"

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition in SQL and its values."""
        conditions, values = ["1 = 1"], {}
        if self.ids:
            conditions.append("id IN :ids")
            values["ids"] = list(self.ids)
        for name in ("run_id", "kind", "error_class", "fingerprint", "status"):
            value = getattr(self, name)
            if value is not None:
                conditions.append(f"{name} = :{name}")
                values[name] = value
        return " AND ".join(conditions), values

    def page_index(self) -> str:
        """The index in which letters that match stand in their order, for a page of them; where there is none, the optimizer's."""
        narrowed = self.ids or self.run_id or self.kind or self.error_class or self.fingerprint
        return "" if narrowed or self.status is None else " FORCE INDEX (ix_dead_letters_newest)"

    def index(self) -> str:
        """The index that answers for all letters that match without reading one.

        Forced where the optimizer has a choice: it takes the one that leads to the rows, and reads payloads and tracebacks.
        """
        if self.ids:
            return ""
        if self.error_class is not None:
            return " FORCE INDEX (ix_dead_letters_error_class)"
        return f" FORCE INDEX (ix_dead_letters_{'status' if self.run_id is None else 'run'})"


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one trouble: how many, the newest for an example, when the first and the newest came."""

    kind: str
    error_class: str
    fingerprint: str
    count: int
    example: str
    first_failed_at: datetime
    last_failed_at: datetime


def find(connection: Connection, which: Filter, *, most: int = 100, after_id: int = 0) -> list[Letter]:
    """Letters that match, oldest first, a page at a time."""
    where, values = which.where()
    rows = connection.execute(
        _with_ids(
            f"SELECT {_COLUMNS} FROM dead_letters{which.page_index()} WHERE {where} AND id > :after_id ORDER BY id LIMIT :most",
            values,
        ),
        values | {"after_id": after_id, "most": most},
    ).mappings()
    return [_as_letter(row) for row in rows]


def count(connection: Connection, which: Filter) -> int:
    """How many match."""
    where, values = which.where()
    return int(
        connection.scalar(_with_ids(f"SELECT COUNT(*) FROM dead_letters{which.index()} WHERE {where}", values), values)
        or 0
    )


def dead_by_run(connection: Connection, which: Filter) -> dict[str, list[int]]:
    """The numbers of the dead letters that match, by run; without their texts, for there may be very many."""
    where, values = which.where()
    rows = connection.execute(
        _with_ids(f"SELECT run_id, id FROM dead_letters WHERE {where} AND status = 'dead' ORDER BY run_id, id", values),
        values,
    )
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(row.run_id, []).append(row.id)
    return found


def get(connection: Connection, letter_id: int, *, lock: bool = False) -> Letter:
    """One letter; raises `NotFound`."""
    row = (
        connection.execute(
            text(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = :id" + (" FOR UPDATE" if lock else "")),
            {"id": letter_id},
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound(f"there is no dead letter {letter_id}")
    return _as_letter(row)


def groups(connection: Connection, which: Filter, *, most: int = 10_000) -> list[Group]:
    """Letters by kind, error class and fingerprint, the most frequent first; the newest of each for an example.

    Counted in an index alone: a fingerprint stands for a kind, an error class and a message, which one letter tells.
    """
    where, values = which.where()
    found = connection.execute(
        _with_ids(
            "SELECT kind, fingerprint, COUNT(*) AS count, MIN(id) AS first_id, MAX(id) AS last_id FROM dead_letters"
            f"{which.index()} WHERE {where} GROUP BY kind, fingerprint ORDER BY count DESC, kind, fingerprint LIMIT :most",
            values,
        ),
        values | {"most": most},
    ).all()
    ids = sorted({row.first_id for row in found} | {row.last_id for row in found})
    if not ids:
        return []
    told = {
        row.id: row
        for row in connection.execute(
            text(
                "SELECT id, error_class, LEFT(error, 400) AS error, first_failed_at, created_at FROM dead_letters"
                " WHERE id IN :ids"
            ).bindparams(bindparam("ids", expanding=True)),
            {"ids": ids},
        )
    }
    # READ COMMITTED: a letter may have been purged between the two reads.
    return [
        Group(
            kind=row.kind,
            error_class=told[row.last_id].error_class,
            fingerprint=row.fingerprint,
            count=int(row._mapping["count"]),
            example=told[row.last_id].error,
            first_failed_at=told[row.first_id].first_failed_at,
            last_failed_at=told[row.last_id].created_at,
        )
        for row in found
        if row.first_id in told and row.last_id in told
    ]


def edit(connection: Connection, letter_id: int, payload: Any, actor: Actor) -> Letter:
    """Set a payload to be used by a replay, beside the untouched original.  Raises `LetterNotDead`, `NotFound`."""
    before = get(connection, letter_id, lock=True)
    if before.status != "dead":
        raise LetterNotDead(letter_id, before.status)
    connection.execute(
        text("UPDATE dead_letters SET edited_payload = :payload WHERE id = :id"),
        {"payload": documents.dump(payload), "id": letter_id},
    )
    audit.write(
        connection,
        actor,
        "edit_letter",
        f"dead_letter:{letter_id}",
        {"payload": before.edited_payload if before.edited_payload is not None else before.payload},
        {"payload": payload},
    )
    return get(connection, letter_id)


def discard(connection: Connection, letter_id: int, actor: Actor) -> Letter:
    """dead → discarded: nobody will do this job.  Raises `LetterNotDead`, `NotFound`."""
    done = connection.execute(
        text(
            "UPDATE dead_letters SET status = 'discarded', resolved_at = NOW(6), resolved_by = :actor, resolution = :reason"
            " WHERE id = :id AND status = 'dead'"
        ),
        {"id": letter_id, "actor": actor.name, "reason": actor.reason},
    )
    letter = get(connection, letter_id)
    if done.rowcount != 1:
        raise LetterNotDead(letter_id, letter.status)
    audit.write(
        connection, actor, "discard_letter", f"dead_letter:{letter_id}", {"status": "dead"}, {"status": "discarded"}
    )
    return letter


def _with_ids(statement: str, values: Mapping[str, Any]) -> Any:
    made = text(statement)
    return made.bindparams(bindparam("ids", expanding=True)) if "ids" in values else made


def _as_letter(row: Mapping[Any, Any]) -> Letter:
    values = {str(name): value for name, value in row.items()}
    for name in ("payload", "edited_payload"):
        values[name] = documents.load(values[name])
    return Letter(**values)
