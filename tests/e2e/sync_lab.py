"""A table and a Kinto collection that real workers keep the same, and ways to look at both."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from runstate.engine import make_engine
from runstate.transaction import in_transaction
from tasks.kinds import Backoff
from tasks.sync import entity_locks
from tasks.sync.kind import SYNC
from tasks.sync.outbox import record_change
from tests.e2e.faults_database import Database, Failpoints
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import Stack, wait_until
from tests.e2e.harness import _children as children_of
from tests.kinto_server import PASSWORD, USER, KintoServer
from tests.sync_api import ITEMS
from tests.sync_journal import AUDIT, Decided, Journal, RecordEdits, RowEdits, decided_in

LEASE_S = 3
TABLES = ("items", "parts", "others")
"""Each is also a kind of record and a collection."""
ENDED = ("completed", "failed", "cancelled", "refused")
QUICK_SYNC = replace(
    SYNC,
    name="quick_sync",
    start_name="start_quick_sync",
    lease_s=LEASE_S,
    max_crashes=50,
    backoff=Backoff(max_attempts=20, base_s=0.1, cap_s=1),
)
"""A lost claim is found after 3 s instead of 15, and a job that is killed again and again stays a job."""
POISONED_SYNC = replace(
    QUICK_SYNC,
    name="poisoned_sync",
    start_name="start_poisoned_sync",
    backoff=Backoff(max_attempts=2, base_s=0.1, cap_s=1),
)
"""Gives up after the second try."""
# Workers import this module, so it holds for them: as with the real lease, the locks of the dead go first.
entity_locks.TTL_S = LEASE_S * 2 / 3


def stack_settings(kinto: KintoServer, failpoints: Path, *, shop: str = "SMALL_SHOP") -> dict[str, str]:
    """Two workers that sync with this server; ``shop``: which connection of `tests.sync_shop`."""
    return {
        "HOLDFAST_KINDS": f"{__name__}:QUICK_SYNC,{__name__}:POISONED_SYNC",
        "HOLDFAST_FAILPOINTS": str(failpoints),
        "HOLDFAST_IMPORTS_PROCESSES": "0",
        "HOLDFAST_SYNC_PROCESSES": "2",
        "HOLDFAST_SYNC": f"tests.sync_shop:{shop},tests.sync_shop:OTHER_SHOP",
        "SYNC_CONNECTION_SHOP": kinto.url.replace("://", f"://{USER}:{PASSWORD}@"),
        "SYNC_CONNECTION_OTHER": kinto.other_url.replace("://", f"://{USER}:{PASSWORD}@"),
    }


class SyncLab:
    """A stack with a sync pool, the API, a producer, and a look at both sides."""

    def __init__(self, stack: Stack, kinto: KintoServer, producer: Producer) -> None:
        self.stack = stack
        self.kinto = kinto
        self.producer = producer
        self.database = Database(stack.servers)
        self.failpoints = Failpoints(Path(stack.environment["HOLDFAST_FAILPOINTS"]))
        for table in TABLES:
            self.database.rows(ITEMS.replace("CREATE TABLE items", f"CREATE TABLE IF NOT EXISTS {table}"))
        self.journal = Journal()
        self.engine = make_engine(stack.servers.database_url)
        self.rows = RowEdits(self.engine, self.journal)
        self.records = RecordEdits(kinto, self.journal)

    def start(self, sync: str = "quick_sync", **options: Any) -> str:
        return self.producer.start(sync, **{"connection": "shop", "kind": "items", **options})

    def status(self, run_id: str) -> str:
        return str(self.database.value("SELECT status FROM runs WHERE run_id = %s", run_id))

    def wait_ended(self, run_id: str, timeout_s: float = 90.0) -> None:
        wait_until(lambda: self.status(run_id) in ENDED, timeout_s, f"run {run_id} to end")

    @contextmanager
    def runs_without_pause(self, **options: Any) -> Iterator[list[str]]:
        """One run after the other while the block runs, and the last one until it has ended; their ids."""
        stop, started, errors = threading.Event(), list[str](), list[BaseException]()

        def go() -> None:
            # A connection belongs to one thread.
            database = Database(self.stack.servers)
            try:
                while not stop.is_set():
                    run_id = self.start(**options)
                    started.append(run_id)
                    wait_until(
                        lambda: database.value("SELECT status FROM runs WHERE run_id = %s", run_id) in ENDED,  # noqa: B023
                        300,
                        f"run {run_id} to end",
                    )
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=go, name="runs")
        thread.start()
        try:
            yield started
        finally:
            stop.set()
            thread.join()
            if errors:
                raise errors[0]

    def sync(self, **options: Any) -> str:
        """One run, from start to end; its id."""
        run_id = self.start(**options)
        self.wait_ended(run_id)
        reason = self.database.row("SELECT status, reason FROM runs WHERE run_id = %s", run_id)
        assert reason == ("completed", None), reason
        return run_id

    def change(self, statement: str, *ids: int, connection: str = "shop", kind: str = "items") -> None:
        """What the application does: a change of these rows, and its record, in one transaction."""

        def steps(c: Connection) -> None:
            c.exec_driver_sql(statement)
            for row in ids:
                record_change(c, connection, kind, row)

        in_transaction(self.engine, steps)

    def insert(self, names: Iterable[str], *, connection: str = "shop", kind: str = "items") -> None:
        """New rows with these names, recorded."""

        def steps(c: Connection) -> None:
            for name in names:
                row = c.exec_driver_sql(f"INSERT INTO {kind} (name, stock) VALUES (%s, 1)", (name,)).lastrowid
                record_change(c, connection, kind, row)

        in_transaction(self.engine, steps)

    def id_of(self, name: str) -> int:
        return int(self.database.value("SELECT id FROM items WHERE name = %s", name))

    def local(self, table: str = "items") -> Counter[tuple[Any, ...]]:
        return Counter(self.database.rows(f"SELECT name, CAST(price AS CHAR), stock FROM {table}"))

    def remote(self, collection: str = "items") -> Counter[tuple[Any, ...]]:
        records = self.kinto.records(collection).values()
        return Counter((r.get("name"), r.get("price"), r.get("stock")) for r in records)

    def writes(self) -> list[str]:
        """The writing requests that reached the API since the log was begun anew."""
        return [
            f"{seen.method} {seen.path}"
            for seen in self.kinto.requests()
            if seen.method not in ("GET", "HEAD") and seen.status not in (429, 503)
        ]

    def decided(self) -> list[Decided]:
        """What the audit says that policies decided against."""
        return decided_in(self.database.rows(AUDIT))

    # -- who works on what ------------------------------------------------------------------------------------------------

    def is_active(self) -> bool:
        """Whether a run of a sync is being planned or worked on."""
        return bool(
            self.database.value(
                "SELECT COUNT(*) FROM runs WHERE kind LIKE '%sync' AND status IN ('planning', 'running') AND finished_at IS NULL"
            )
        )

    def families(self) -> dict[str, tuple[int, list[int]]]:
        """Each sync worker's main process and its children, by the start of the worker's name: ``sync0``."""
        return {
            f"sync{int(re.sub(r'.*_', '', p.name))}": (p.pid, children_of(p.pid))
            for p in self.stack.processes("sync")
            if p.pid
        }

    def busy(self) -> list[tuple[str, int, int, str, str]]:
        """Jobs of syncs that are held: run, job, number of the claim, its token, and whose it is."""
        return [
            (str(run_id), int(job_no), int(claim_no), str(token), str(worker))
            for run_id, job_no, claim_no, token, worker in self.database.rows(
                "SELECT j.run_id, job_no, claims, claim_token, worker FROM jobs j JOIN runs r ON r.run_id = j.run_id"
                " WHERE r.kind LIKE '%sync' AND state = 'running' AND lease_until > NOW(6)"
            )
        ]

    def holds(self, run_id: str, job_no: int, token: str) -> bool:
        """Whether this claim still stands."""
        return bool(
            self.database.value(
                "SELECT COUNT(*) FROM jobs WHERE run_id = %s AND job_no = %s AND claim_token = %s AND state = 'running'",
                run_id,
                job_no,
                token,
            )
        )

    def outcome(self, run_id: str, job_no: int, claim_no: int) -> str:
        """How a claim ended."""
        return str(
            self.database.value(
                "SELECT MAX(outcome) FROM job_attempts WHERE run_id = %s AND job_no = %s AND claim_no = %s",
                run_id,
                job_no,
                claim_no,
            )
        )

    def held(self, *run_ids: str) -> int:
        """How many jobs of these runs are in a worker's hands."""
        marks = ", ".join(["%s"] * len(run_ids))
        return int(
            self.database.value(f"SELECT COUNT(*) FROM jobs WHERE state = 'running' AND run_id IN ({marks})", *run_ids)
        )

    def all_wait(self, *run_ids: str) -> bool:
        """Whether each of these runs has work that is due later, and none that is out."""
        marks = ", ".join(["%s"] * len(run_ids))
        states = self.database.rows(
            "SELECT run_id, SUM(state IN ('queued', 'running')), SUM(state = 'pending' AND due_at > NOW(6)) FROM jobs"
            f" WHERE run_id IN ({marks}) AND job_no > 0 GROUP BY run_id",
            *run_ids,
        )
        return len(states) == len(run_ids) and all(not out and later for _, out, later in states)

    def attempts(self, *run_ids: str) -> int:
        """How many attempts the jobs of these runs have used."""
        marks = ", ".join(["%s"] * len(run_ids))
        return int(
            self.database.value(f"SELECT COALESCE(SUM(attempts), 0) FROM jobs WHERE run_id IN ({marks})", *run_ids)
        )

    def outcomes(self) -> dict[str, int]:
        """How many claims ended how."""
        return dict(self.database.rows("SELECT outcome, COUNT(*) FROM job_attempts GROUP BY outcome"))


@contextmanager
def sync_lab(stack: Stack, kinto: KintoServer) -> Iterator[SyncLab]:
    """A producer and an empty collection, for one test."""
    kinto.start()
    first, *others = TABLES
    kinto.fresh(first)
    for collection in others:
        kinto.add(collection)
    kinto.forget_requests()
    with Producer(stack.environment) as producer:
        lab = SyncLab(stack, kinto, producer)
        try:
            yield lab
        finally:
            lab.failpoints.clear()
            lab.engine.dispose()
            kinto.calm()
