"""What a push is about to write: decided under lock, and stored as intents before any call."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tasks.sync import conflicts, links, outbox, rejects
from tasks.sync.answers import Planned
from tasks.sync.connector import Write
from tasks.sync.decisions import Decision, Do, decide
from tasks.sync.effects import Scene
from tasks.sync.links import Link
from tasks.sync.mapping import fields_of
from tasks.sync.outbox import Entry
from tasks.sync.rejects import Reject


def prepare(connection: Connection, scene: Scene, entries: Sequence[Entry], *, deletes: bool) -> list[Planned]:
    """What the API lacks of these rows, each stored as an intent; entries that lack nothing are done.

    ``deletes``  whether records may be deleted: the guard has seen how many that are
    """
    read_at = links.now(connection)
    wanted = {entry.local_id: entry for entry in entries if entry.local_id is not None}
    known = links.by_local(connection, scene.pair, wanted)
    rows = scene.table.read(connection, wanted, lock=True)
    planned: list[Planned] = []
    done: list[Entry] = []
    unlink: list[Link] = []
    forget: list[int] = []
    refused: list[tuple[Entry, Reject]] = []
    for local_id, entry in wanted.items():
        decision = decide(scene.kind, known.get(local_id), rows.get(local_id), None, read_at)
        if decision.remote is Do.NOTHING or (decision.remote is Do.DELETE and not deletes):
            if decision.forget and decision.before is not None and decision.before.id is not None:
                forget.append(decision.before.id)
            if decision.remote is Do.NOTHING:
                done.append(entry)
            continue
        if decision.remote is Do.CREATE and decision.link is not None and decision.link.id is not None:
            # Its record is gone for good: from now on the link knows only the row.
            unlink.append(decision.link)
        try:
            planned.append(_planned(scene, entry, local_id, decision, read_at))
        except ValueError as error:
            reject = Reject(entry.entity, "push", "does_not_fit", str(error), decision.remote_values)
            refused.append((entry, reject))
    links.save(connection, scene.pair, unlink)
    conflicts.drop_links(connection, forget)
    outbox.done(connection, done)
    outbox.reject(connection, [entry for entry, _ in refused])
    rejects.store(connection, scene.pair, scene.run_id, [reject for _, reject in refused])
    outbox.intend(connection, {plan.entry.id: intent_of(plan) for plan in planned})
    if unlink:
        # Their seq has risen with this very transaction.
        fresh = links.by_local(connection, scene.pair, [link.local_id or "" for link in unlink])
        planned = [_with_link(plan, fresh.get(plan.local_id, plan.link)) for plan in planned]
    return planned


def _planned(scene: Scene, entry: Entry, local_id: str, decision: Decision, read_at: datetime) -> Planned:
    link, columns = decision.before, decision.remote_values
    before = {name: link.base.remote.get(name) for name in columns} if link is not None else None
    if decision.remote is Do.CREATE:
        # A key that was stored for an earlier try is used again: that try may still arrive.
        key = str((entry.intent or {}).get("key") or uuid.uuid4())
        chosen = key if scene.connector.capabilities.chosen_ids else None
        write = Write("create", chosen, fields_of(scene.connector, columns), None, key)
        return Planned(entry, link, local_id, write, columns, None, read_at)
    assert link is not None and link.remote_id is not None
    if decision.remote is Do.DELETE:
        write = Write("delete", link.remote_id, None, link.version)
        return Planned(entry, link, local_id, write, {}, dict(link.base.remote), read_at)
    write = Write("update", link.remote_id, fields_of(scene.connector, columns), link.version, str(uuid.uuid4()))
    return Planned(entry, link, local_id, write, columns, before, read_at)


def _with_link(plan: Planned, link: Link | None) -> Planned:
    return Planned(plan.entry, link, plan.local_id, plan.write, plan.columns, plan.before, plan.read_at)


def intent_of(plan: Planned) -> dict[str, Any]:
    """A write as it is stored before it is made."""
    write = plan.write
    return {
        "op": write.op,
        "remote_id": write.remote_id,
        "version": write.if_version,
        "key": write.idempotency_key,
        "columns": dict(plan.columns),
        "before": plan.before,
    }


def planned_of(entry: Entry, link: Link | None, read_at: datetime) -> Planned:
    """The write that an intent was stored for."""
    intent: Mapping[str, Any] = entry.intent or {}
    write = Write(intent["op"], intent["remote_id"], None, intent["version"], intent["key"])
    return Planned(entry, link, entry.local_id or "", write, intent["columns"], intent["before"], read_at)
