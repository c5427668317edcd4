"""What the steps of all kinds of sync stand on: table and connector, the shared gate, the locks; tied to this process' clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from locks.limits import RateLimiter
from tasks import clients
from tasks.errors import BadArguments, FailRun
from tasks.kinds import Work
from tasks.sync import ahead
from tasks.sync.arguments import declared
from tasks.sync.connections import connection_named, connector_of
from tasks.sync.effects import Scene
from tasks.sync.entity_locks import entities_held
from tasks.sync.errors import SyncError
from tasks.sync.gate import gated
from tasks.sync.job_errors import answer_to
from tasks.sync.links import Pair
from tasks.sync.local import LocalTable, local_table
from tasks.sync.outbox import Entry
from tasks.sync.remote_errors import RemoteError
from tasks.sync.shared_gate import SharedGate

_tables: dict[tuple[str, str, str], LocalTable] = {}


def scene_for(work: Work, connection: str, name: str) -> Scene:
    """Connection, kind, table and connector of a run; the table is read from the schema once per run and process."""
    kind = declared(connection, name)
    key = (work.run_id, connection, name)
    if key not in _tables:
        _tables.clear()
        _tables[key] = local_table(work.engine, kind)
    connector = connector_of(connection_named(connection), kind)
    return Scene(Pair(connection, name), kind, _tables[key], connector, work.run_id)


@contextmanager
def failing_the_run() -> Iterator[None]:
    """What is wrong with the declaration or the table is wrong for every job of the run; so is a run that would delete too much.

    `BadArguments`: what was declared when the start was made is not declared here, or not any more.
    """
    try:
        yield
    except (SyncError, BadArguments) as error:
        raise FailRun(str(error)) from error


@contextmanager
def calling(work: Work, scene: Scene) -> Iterator[SharedGate]:
    """Requests pass the connection's shared gate, and what the API says becomes a job's answer."""
    if work.payload.get("do") != "pull":
        # A page that was fetched ahead is a pull's, and its connector may still be at it.
        ahead.leave(scene.connector)
    client = clients.redis()
    connection = connection_named(scene.pair.connection)
    gate = SharedGate(client, RateLimiter(client), connection, work.stop_if_asked, owner=clients.who())
    try:
        with gated(gate):
            yield gate
    except RemoteError as error:
        raise answer_to(error) from error


def holding(scene: Scene, entries: Sequence[Entry]) -> AbstractContextManager[tuple[list[Entry], list[Entry]]]:
    """Those entries that nobody else writes while the block runs, and those that somebody does (`entities_held`)."""
    return entities_held(clients.redis(), scene.pair, entries, clients.who())
