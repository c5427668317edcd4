"""A table and a Kinto collection that real workers keep the same, and ways to look at both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.kinds import Backoff
from tasks.sync.kind import SYNC
from tests.e2e.faults_database import Database, Failpoints
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import Stack, wait_until
from tests.kinto_server import PASSWORD, USER, KintoServer
from tests.sync_api import ITEMS

LEASE_S = 3
QUICK_SYNC = replace(
    SYNC,
    name="quick_sync",
    start_name="start_quick_sync",
    lease_s=LEASE_S,
    max_crashes=50,
    backoff=Backoff(max_attempts=20, base_s=0.1, cap_s=1),
)
"""A lost claim is found after 3 s instead of 15, and a job that is killed again and again stays a job."""


def stack_settings(kinto: KintoServer, failpoints: Path) -> dict[str, str]:
    """Two workers that sync with this server."""
    return {
        "HOLDFAST_KINDS": f"{__name__}:QUICK_SYNC",
        "HOLDFAST_FAILPOINTS": str(failpoints),
        "HOLDFAST_IMPORTS_PROCESSES": "0",
        "HOLDFAST_SYNC_PROCESSES": "2",
        "HOLDFAST_SYNC": "tests.sync_shop:SMALL_SHOP",
        "SYNC_CONNECTION_SHOP": kinto.url.replace("://", f"://{USER}:{PASSWORD}@"),
    }


class SyncLab:
    """A stack with a sync pool, the API, a producer, and a look at both sides."""

    def __init__(self, stack: Stack, kinto: KintoServer, producer: Producer) -> None:
        self.stack = stack
        self.kinto = kinto
        self.producer = producer
        self.database = Database(stack.servers)
        self.failpoints = Failpoints(Path(stack.environment["HOLDFAST_FAILPOINTS"]))
        self.database.rows(ITEMS.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))

    def start(self, kind: str = "quick_sync", **options: Any) -> str:
        return self.producer.start(kind, connection="shop", kind="items", **options)

    def status(self, run_id: str) -> str:
        return str(self.database.value("SELECT status FROM runs WHERE run_id = %s", run_id))

    def wait_ended(self, run_id: str, timeout_s: float = 90.0) -> None:
        ended = ("completed", "failed", "cancelled", "refused")
        wait_until(lambda: self.status(run_id) in ended, timeout_s, f"run {run_id} to end")

    def sync(self, kind: str = "quick_sync", **options: Any) -> str:
        """One run, from start to end; its id."""
        run_id = self.start(kind, **options)
        self.wait_ended(run_id)
        reason = self.database.row("SELECT status, reason FROM runs WHERE run_id = %s", run_id)
        assert reason == ("completed", None), reason
        return run_id

    def change(self, statement: str, *ids: int) -> None:
        """What the application does: a change of these rows, and its record."""
        self.database.rows(statement)
        for row in ids:
            self.database.rows(
                "INSERT INTO sync_outbox (connection, kind, entity) VALUES ('shop', 'items', %s)"
                " ON DUPLICATE KEY UPDATE seq = seq + 1, state = 'pending'",
                f"l:{row}",
            )

    def local(self) -> Counter[tuple[Any, ...]]:
        return Counter(self.database.rows("SELECT name, CAST(price AS CHAR), stock FROM items"))

    def remote(self) -> Counter[tuple[Any, ...]]:
        return Counter((r.get("name"), r.get("price"), r.get("stock")) for r in self.kinto.records("items").values())

    def writes(self) -> list[str]:
        """The writing requests since the log was begun anew."""
        return [f"{seen.method} {seen.path}" for seen in self.kinto.requests() if seen.method != "GET"]

    def edit_randomly(self, rng: random.Random, edits: int) -> None:
        """Edits, deletes and creates on both sides, as application and as somebody else."""
        for _ in range(edits):
            if rng.random() < 0.5:
                self._edit_row(rng)
            else:
                self._edit_record(rng)

    def _edit_row(self, rng: random.Random) -> None:
        ids = [row[0] for row in self.database.rows("SELECT id FROM items")]
        chance = rng.random()
        if chance < 0.2 or not ids:
            new = max(ids, default=0) + 1000 + rng.randrange(10_000)
            self.change(f"INSERT IGNORE INTO items (id, name, stock) VALUES ({new}, 'L{new}', 0)", new)
        elif chance < 0.3:
            row = rng.choice(ids)
            self.change(f"DELETE FROM items WHERE id = {row}", row)
        else:
            row, column = rng.choice(ids), rng.choice(["stock", "price"])
            self.change(f"UPDATE items SET {column} = {rng.randrange(1000)} WHERE id = {row}", row)

    def _edit_record(self, rng: random.Random) -> None:
        from urllib.error import HTTPError

        ids = sorted(self.kinto.records("items"))
        chance = rng.random()
        try:
            if chance < 0.2 or not ids:
                name = f"R{rng.randrange(10**9)}"
                self.kinto.put("items", name.lower(), name=name, price=None, stock=0)
            elif chance < 0.3:
                self.kinto.delete("items", rng.choice(ids))
            elif rng.random() < 0.5:
                self.kinto.patch("items", rng.choice(ids), stock=rng.randrange(1000))
            else:
                self.kinto.patch("items", rng.choice(ids), price=f"{rng.randrange(1000)}.00")
        except HTTPError as error:
            if error.code != 404:
                raise


@contextmanager
def sync_lab(stack: Stack, kinto: KintoServer) -> Iterator[SyncLab]:
    """A producer and an empty collection, for one test."""
    kinto.start()
    kinto.fresh("items")
    kinto.forget_requests()
    with Producer(stack.environment) as producer:
        lab = SyncLab(stack, kinto, producer)
        try:
            yield lab
        finally:
            lab.failpoints.clear()
            kinto.calm()
