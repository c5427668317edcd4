"""Syncs on real workers that get killed and told to wait, with a real API."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.harness import Stack, wait_until
from tests.e2e.sync_lab import SyncLab, stack_settings, sync_lab
from tests.kinto_server import KintoServer, kinto_process

__all__ = ["kinto_process"]


@pytest.fixture
def lab(session_stack: Stack, kinto_process: KintoServer) -> Iterator[SyncLab]:
    """The stack, quiet and empty, with two sync workers; the API, empty."""
    session_stack.begin(stack_settings(kinto_process, TEST_VAR / "sync-failpoints"))
    with sync_lab(session_stack, kinto_process) as made:
        yield made


def test_kills_around_every_write_double_nothing_and_lose_nothing(lab: SyncLab) -> None:
    """kill -9 before and after calls and commits: each row has one record, each record one row, both the same."""
    for n in range(120):
        lab.kinto.put("items", f"r{n:03}", name=f"n{n}", price="1.00", stock=n)
    lab.failpoints.load("record.before_commit", "kill")
    lab.sync()
    assert lab.local() == lab.remote() and sum(lab.local().values()) == 120
    for n in range(60):
        lab.change(f"INSERT INTO items (id, name, stock) VALUES ({5000 + n}, 'new{n}', {n})", 5000 + n)
    for (row,) in lab.database.rows("SELECT id FROM items WHERE id < 5000 LIMIT 40"):
        lab.change(f"UPDATE items SET stock = stock + 1000 WHERE id = {row}", row)
    points = ("sync.before_write", "sync.after_write", "checkpoint.before_commit")
    for point in points:
        lab.failpoints.load(point, "kill")
    lab.sync()
    assert {point: len(lab.failpoints.fired(point)) for point in points} == dict.fromkeys(points, 1)
    assert sum(lab.remote().values()) == 180
    assert lab.local() == lab.remote()
    lab.kinto.forget_requests()
    lab.sync("sync")
    assert lab.writes() == []
    assert lab.database.value("SELECT COUNT(*) FROM sync_outbox") == 0


def test_retry_after_holds_all_workers_and_costs_no_attempt(lab: SyncLab) -> None:
    """From 200 ms after the answer on, no request starts on any worker until the time is over."""
    for n in range(100):
        lab.change(f"INSERT INTO items (id, name) VALUES ({n + 1}, 'n{n}')", n + 1)
    lab.sync(direction="pull")
    lab.kinto.limit(5)
    lab.kinto.forget_requests()
    run_id = lab.start(direction="push")
    wait_until(lambda: any(seen.status == 429 for seen in lab.kinto.requests()), 20, "a 429")
    first = next(seen for seen in lab.kinto.requests() if seen.status == 429)
    lab.kinto.calm()
    lab.wait_ended(run_id)
    quiet = [seen.at - first.at for seen in lab.kinto.requests() if 0.3 < seen.at - first.at < 4.9]
    assert quiet == []
    assert lab.local() == lab.remote() and sum(lab.remote().values()) == 100
    assert lab.database.value("SELECT COALESCE(SUM(attempts), 0) FROM jobs WHERE run_id = %s", run_id) == 0


def test_edits_on_both_sides_during_runs_with_failures_end_equal(lab: SyncLab) -> None:
    """With 503s for a tenth of the requests and workers killed, both sides are equal and writes stop within two rounds."""
    rng = random.Random(7)
    for n in range(30):
        lab.kinto.put("items", f"r{n:03}", name=f"n{n}", price="1.00", stock=n)
    lab.sync()
    lab.kinto.flaky()
    for point in ("sync.after_write", "record.before_commit"):
        lab.failpoints.load(point, "kill")
    run_id = lab.start()
    lab.edit_randomly(rng, 60)
    lab.wait_ended(run_id)
    lab.kinto.calm()
    lab.sync()
    lab.sync()
    lab.kinto.forget_requests()
    lab.sync()
    assert lab.writes() == []
    assert lab.local() == lab.remote()
