"""Writes whose answers were lost: what became of them is read, never tried again blindly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from tasks.sync import links, outbox, rejects
from tasks.sync.answers import Answer, Planned, Recorded, record_answers
from tasks.sync.connector import Connector, NotFound, Record, RemoteError, VersionMoved
from tasks.sync.effects import Scene
from tasks.sync.outbox import Entry
from tasks.sync.prepare import planned_of
from tasks.sync.rejects import Reject
from tasks.sync.writes import STOPPING, Checkpoint


@dataclass(slots=True)
class Resolved:
    """``again``: entries to look at again now; ``stopped``: why the API told no more."""

    again: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    stopped: RemoteError | None = None


def resolve_doubtful(scene: Scene, doubtful: Sequence[Entry], checkpoint: Checkpoint) -> Resolved:
    """Read the records that these entries' intents were about; what is found is recorded as an answer would be."""

    def planned(connection: Connection) -> list[Planned]:
        known = links.by_local(connection, scene.pair, (entry.local_id or "" for entry in doubtful), lock=False)
        read_at = links.now(connection)
        return [planned_of(entry, known.get(entry.local_id or ""), read_at) for entry in doubtful]

    resolved = Resolved()
    answers: list[Answer] = []
    in_doubt: list[Planned] = []
    for plan in checkpoint(planned):
        try:
            found, known = _look(scene.connector, plan)
        except RemoteError as error:
            if not isinstance(error, STOPPING):
                continue
            resolved.stopped = error
            break
        resolved.counts["resolved_by_reading"] += 1
        if not known:
            in_doubt.append(plan)
        elif found is not None:
            answers.append(Answer(plan, VersionMoved("read after a lost answer", current=found), read=True))
        elif plan.write.op == "create":
            # Not there: it is made under the same key, for the lost request may yet arrive.
            resolved.again.append(plan.entry)
        else:
            answers.append(Answer(plan, NotFound("read after a lost answer"), read=True))
    if in_doubt:
        checkpoint(lambda c: _doubt(c, scene, in_doubt))
    if answers:
        recorded: Recorded = checkpoint(lambda c: record_answers(c, scene, answers))
        resolved.counts += recorded.counts
        resolved.again += recorded.again
    return resolved


def _look(connector: Connector, plan: Planned) -> tuple[Record | None, bool]:
    """The record that a write was for, and whether that can be known."""
    able = connector.capabilities
    if plan.write.op != "create":
        assert plan.write.remote_id is not None
        return connector.get(plan.write.remote_id), True
    if plan.write.remote_id is not None:
        return connector.get(plan.write.remote_id), True
    if able.finds_created and plan.write.idempotency_key is not None:
        return connector.find_created(plan.write.idempotency_key), True
    return None, able.idempotent_create


def _doubt(connection: Connection, scene: Scene, plans: Sequence[Planned]) -> None:
    """Nobody can tell whether these were made: a person must look, for a second try might make a second record."""
    outbox.reject(connection, [plan.entry for plan in plans])
    why = "the answer to its creation was lost, and this API cannot be asked what became of it: look there, then retry"
    rejects.store(
        connection,
        scene.pair,
        scene.run_id,
        [Reject(plan.entry.entity, "push", "in_doubt", why, plan.columns) for plan in plans],
    )
