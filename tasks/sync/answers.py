"""The answers to a batch of writes, recorded: each becomes the new common state, or says what to do instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tasks.sync import audit, ledger, links, outbox, rejects
from tasks.sync.audit import Change
from tasks.sync.connector import (
    NotFound,
    OutcomeUnknown,
    Record,
    Rejected,
    RemoteError,
    VersionMoved,
    Write,
)
from tasks.sync.decisions import Decision, Do, Seen, decide, written
from tasks.sync.effects import Scene, apply
from tasks.sync.ledger import Wrote
from tasks.sync.links import EMPTY, Link
from tasks.sync.local import Row
from tasks.sync.merge import Side
from tasks.sync.observe import seen_of, unfit
from tasks.sync.outbox import Entry
from tasks.sync.rejects import Reject
from tasks.sync.values import hash_of


@dataclass(frozen=True, slots=True)
class Planned:
    """One write, stored as an intent before it is made.

    ``link``     as it was when the write was decided; None: none
    ``columns``  what of the row it carries, in the table's terms; ``before``: what the API had there
    """

    entry: Entry
    link: Link | None
    local_id: str
    write: Write
    columns: Mapping[str, Any]
    before: Mapping[str, Any] | None
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the record, None (a delete that was done), or the error; ``read``: it was read later, not answered."""

    planned: Planned
    came: Record | RemoteError | None
    read: bool = False


@dataclass(slots=True)
class Recorded:
    """``again``: entries to go another round; ``doubtful``: their outcome must be read first; and what was how many."""

    again: list[Entry]
    doubtful: list[Planned]
    counts: Counter[str]


def record_answers(
    connection: Connection, scene: Scene, answers: Sequence[Answer], *, merge_moved: bool = True
) -> Recorded:
    """Record these answers in one transaction: links, rows where the API's state must be merged, ledger, audit, outbox.

    ``merge_moved``  merge a record that moved; else it is only noted, to be read by the next run
    """
    recorded = Recorded([], [], Counter())
    now = links.by_local(connection, scene.pair, (a.planned.local_id for a in answers))
    rows = scene.table.read(connection, (a.planned.local_id for a in answers), lock=True)
    book = _Book(scene, recorded, merge_moved=merge_moved)
    for answer in answers:
        book.enter(answer, now.get(answer.planned.local_id), rows.get(answer.planned.local_id))
    recorded.counts += apply(connection, scene, [decision for _, decision in book.decisions])
    ledger.write(connection, scene.pair, book.wrote)
    audit.write(connection, scene.pair, scene.run_id, book.changes)
    outbox.done(connection, book.done)
    outbox.forget_intents(connection, book.forget)
    outbox.reject(connection, book.refused)
    outbox.add(connection, scene.pair, book.to_read)
    rejects.store(connection, scene.pair, scene.run_id, book.rejects)
    return recorded


class _Book:
    """What is to be written for a batch of answers, collected one by one."""

    def __init__(self, scene: Scene, recorded: Recorded, *, merge_moved: bool) -> None:
        self.merge_moved = merge_moved
        self.scene = scene
        self.recorded = recorded
        self.decisions: list[tuple[Entry, Decision]] = []
        self.wrote: list[Wrote] = []
        self.changes: list[Change] = []
        self.done: list[Entry] = []
        self.forget: list[int] = []
        self.refused: list[Entry] = []
        self.to_read: list[str] = []
        self.rejects: list[Reject] = []

    def enter(self, answer: Answer, link: Link | None, row: Row | None) -> None:
        planned, came = answer.planned, answer.came
        if isinstance(came, OutcomeUnknown):
            # The intent stays: whoever comes next reads first.
            self.recorded.doubtful.append(planned)
        elif isinstance(came, VersionMoved) and came.current is None:
            self.recorded.doubtful.append(planned)
        elif isinstance(came, Rejected):
            self._refuse(planned, came)
        elif isinstance(came, RemoteError) and not isinstance(came, VersionMoved | NotFound):
            self._later(planned)
        elif (link.seq if link else None) != (planned.link.seq if planned.link else None) or (
            isinstance(came, VersionMoved | NotFound) and not (self.merge_moved or answer.read)
        ):
            self._overtaken(planned, came)
        elif isinstance(came, NotFound) or (came is None and planned.write.op == "delete"):
            self._gone(planned, link, row, deleted_by_us=came is None)
        elif isinstance(came, VersionMoved):
            assert came.current is not None
            self._live(planned, link, row, came.current, ours=_is_ours(self.scene, answer, came.current), wrote=False)
        else:
            assert isinstance(came, Record)
            self._live(planned, link, row, came, ours=True, wrote=True)

    def _live(
        self, planned: Planned, link: Link | None, row: Row | None, record: Record, *, ours: bool, wrote: bool
    ) -> None:
        """The record as it is now.  ``ours``: with what we sent; ``wrote``: it is the answer to our write."""
        scene = self.scene
        if record.deleted:
            self._gone(planned, link, row, deleted_by_us=False)
            return
        try:
            seen = seen_of(scene, record)
        except ValueError as error:
            self.rejects.append(unfit(record.remote_id, record.fields, error))
            self.refused.append(planned.entry)
            return
        known = link or Link(None, planned.local_id, record.remote_id, None, EMPTY)
        known = replace(known, remote_id=record.remote_id)
        if ours:
            known = written(known, planned.columns, seen.values if wrote else None)
            action = planned.write.op
            self.recorded.counts[f"remote_{action}d"] += 1
            self.wrote.append(Wrote(record.remote_id, hash_of(seen.values or {}), record.version))
            self._audit(planned, record.remote_id)
        self._decide(planned, known, link, row, seen)

    def _gone(self, planned: Planned, link: Link | None, row: Row | None, *, deleted_by_us: bool) -> None:
        if deleted_by_us:
            self.recorded.counts["remote_deleted"] += 1
            self._audit(planned, planned.write.remote_id)
        if link is None or link.remote_id is None:
            self._later(planned)
            return
        self._decide(planned, link, link, row, Seen(link.remote_id, None))

    def _decide(self, planned: Planned, known: Link, link: Link | None, row: Row | None, seen: Seen) -> None:
        decision = decide(self.scene.kind, known, row, seen, planned.read_at)
        if link is None and decision.link is not None:
            decision = replace(decision, before=None)
        self.decisions.append((planned.entry, decision))
        if decision.remote is Do.NOTHING:
            self.done.append(planned.entry)
        else:
            self._later(planned)

    def _later(self, planned: Planned) -> None:
        self.forget.append(planned.entry.id)
        self.recorded.again.append(replace(planned.entry, intent=None))

    def _overtaken(self, planned: Planned, came: Record | RemoteError | None) -> None:
        """Somebody else has taken in a later state of the record: what came back may be older, so it is read again."""
        remote_id = came.remote_id if isinstance(came, Record) else planned.write.remote_id
        if remote_id is not None:
            self.to_read.append(f"r:{remote_id}")
        self.forget.append(planned.entry.id)

    def _refuse(self, planned: Planned, error: Rejected) -> None:
        reason = f"{error} {error.body}".strip()
        self.rejects.append(Reject(planned.entry.entity, "push", f"http_{error.status}", reason, planned.columns))
        self.refused.append(planned.entry)
        self.recorded.counts["rejected"] += 1

    def _audit(self, planned: Planned, remote_id: str | None) -> None:
        op = planned.write.op
        after = None if op == "delete" else planned.columns
        self.changes.append(Change(planned.local_id, remote_id, Side.REMOTE.value, op, planned.before, after))


def _is_ours(scene: Scene, answer: Answer, current: Record) -> bool:
    """Whether a record that was there already has what we sent: under an id of ours, or read after a lost answer."""
    planned = answer.planned
    if planned.write.op == "create":
        return True
    if not answer.read or planned.write.op == "delete" or current.deleted:
        return False
    try:
        values = seen_of(scene, current).values or {}
    except ValueError:
        return False
    return all(values.get(name) == value for name, value in planned.columns.items())
