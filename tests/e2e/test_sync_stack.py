"""Syncs on real workers that get killed and told to wait, with a real API."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

import pytest

from stack.debian import libfaketime
from stack.nodes import answering_nodes
from tests.conftest import TEST_VAR
from tests.e2e.harness import Stack, wait_until
from tests.e2e.sync_lab import LEASE_S, SyncLab, stack_settings, sync_lab
from tests.kinto_server import BUCKET, KintoServer, kinto_process
from tests.sync_journal import edit_randomly

__all__ = ["kinto_process"]

NEWEST = dict.fromkeys(("name", "price", "stock"), "newest")


@pytest.fixture
def lab(session_stack: Stack, kinto_process: KintoServer) -> Iterator[SyncLab]:
    """The stack, quiet and empty, with two sync workers; the API, empty."""
    session_stack.begin(stack_settings(kinto_process, TEST_VAR / "sync-failpoints"))
    with sync_lab(session_stack, kinto_process) as made:
        yield made


def nothing_is_written_any_more(lab: SyncLab) -> None:
    """A further run writes nothing, and nothing waits."""
    lab.kinto.forget_requests()
    lab.sync()
    assert lab.writes() == []
    assert lab.database.value("SELECT COUNT(*) FROM sync_outbox") == 0


def test_kills_around_every_write_double_nothing_and_lose_nothing(lab: SyncLab) -> None:
    """kill -9 before and after calls and commits: each row has one record, each record one row, both the same."""
    for n in range(60):
        lab.kinto.put("items", f"r{n:03}", name=f"n{n}", price="1.00", stock=n)
    lab.failpoints.load("record.before_commit", "kill")
    lab.sync()
    assert lab.local() == lab.remote() and sum(lab.local().values()) == 60
    lab.insert(f"new{n}" for n in range(60))
    ids = [row for (row,) in lab.database.rows("SELECT id FROM items WHERE name LIKE 'n_' LIMIT 40")]
    lab.change(f"UPDATE items SET stock = stock + 1000 WHERE id IN ({', '.join(map(str, ids))})", *ids)
    points = ("sync.before_write", "sync.after_write", "checkpoint.before_commit")
    for point in points:
        lab.failpoints.load(point, "kill")
    lab.sync()
    assert {point: len(lab.failpoints.fired(point)) for point in points} == dict.fromkeys(points, 1)
    assert sum(lab.remote().values()) == 120
    assert lab.local() == lab.remote()
    nothing_is_written_any_more(lab)


@pytest.mark.parametrize("status, form", [(429, "seconds"), (503, "date")])
def test_retry_after_holds_the_whole_fleet_and_costs_nothing(lab: SyncLab, status: int, form: str) -> None:
    """From 200 ms after the answer until the time is over no request of the connection starts, whatever worker or kind of
    record; meanwhile no worker holds a job of it, and no attempt is used."""
    for kind in ("items", "parts"):
        lab.insert((f"n{n}" for n in range(60)), kind=kind)
    wait_s, date = 4, formatdate(time.time() + 6, usegmt=True)
    lab.kinto.refuse(status, str(wait_s) if form == "seconds" else date)
    runs = [lab.start(kind=kind, direction="push") for kind in ("items", "parts")]
    wait_until(lambda: any(seen.status == status for seen in lab.kinto.requests()), 20, f"a {status}")
    first = min(seen.at for seen in lab.kinto.requests() if seen.status == status)
    until = first + wait_s if form == "seconds" else parsedate_to_datetime(date).timestamp()
    # Whoever asked now would be answered: it is we who keep quiet.
    lab.kinto.calm()
    wait_until(lambda: lab.all_wait(*runs) or time.time() > until, 20, "every job to wait")
    while time.time() < until - 0.2:
        assert lab.held(*runs) == 0
        time.sleep(0.05)
    for run_id in runs:
        lab.wait_ended(run_id)
    asked = [seen for seen in lab.kinto.requests() if seen.server == "front"]
    assert [seen for seen in asked if first + 0.2 < seen.at < until - 0.05] == []
    assert lab.attempts(*runs) == 0
    for kind in ("items", "parts"):
        assert lab.local(kind) == lab.remote(kind) and sum(lab.remote(kind).values()) == 60


def test_edits_on_both_sides_during_runs_with_failures_end_equal(lab: SyncLab) -> None:
    """With 503s for a tenth of the requests and workers killed: both sides end equal, writes stop within two rounds, and
    nothing is lost that no policy decided."""
    rng = random.Random(7)
    for _ in range(20):
        lab.records.create()
    lab.sync()
    lab.kinto.flaky()
    for point in ("sync.after_write", "record.before_commit"):
        lab.failpoints.load(point, "kill")
    with lab.runs_without_pause(allow_deletes=True):
        for _ in range(80):
            wait_until(lab.is_active, 60, "a run")
            edit_randomly(rng, lab.rows if rng.random() < 0.5 else lab.records)
    lab.kinto.calm()
    for _ in range(2):
        lab.sync(allow_deletes=True)
    nothing_is_written_any_more(lab)
    rows = lab.rows.state()
    assert rows == lab.records.state()
    _, problems = lab.journal.fates(rows, lab.decided(), policies=NEWEST)
    assert problems == []


def test_a_create_whose_answer_is_lost_makes_one_record(lab: SyncLab) -> None:
    """The server has done it and hangs up: it is found, not made again."""
    lab.insert(f"n{n}" for n in range(30))
    lab.kinto.lose_answers(2)
    lab.sync()
    assert lab.kinto.faults_to_come() == 0
    assert lab.local() == lab.remote() and sum(lab.remote().values()) == 30
    nothing_is_written_any_more(lab)


def test_equal_time_stamps_across_page_edges_and_edits_while_paging_miss_nothing(lab: SyncLab) -> None:
    """200 records of one time stamp, pages of 50; some are edited, made and deleted between the first page and the others."""
    for n in range(200):
        path = f"/buckets/{BUCKET}/collections/items/records/r{n:03}"
        lab.kinto.call("PUT", path, {"data": {"name": f"n{n}", "stock": n, "last_modified": 1_234_567_890_000}})
    assert len({record["last_modified"] for record in lab.kinto.records("items").values()}) == 1
    lab.failpoints.load("perform.after", "delay 1.5", times=2)
    run_id = lab.start()
    # The first to pass is the step before, the second the first page.
    lab.failpoints.wait_fired("perform.after", 2)
    for n in (0, 60, 120, 199):
        lab.kinto.patch("items", f"r{n:03}", stock=1000 + n)
    lab.kinto.delete("items", "r100")
    lab.kinto.put("items", "late", name="late", price=None, stock=1)
    lab.wait_ended(run_id)
    names = {name for (name,) in lab.database.rows("SELECT name FROM items")}
    assert {f"n{n}" for n in range(200)} - names <= {"n100"}
    lab.sync()
    assert lab.local() == lab.remote() and sum(lab.local().values()) == 200


def test_an_empty_list_deletes_nothing(lab: SyncLab) -> None:
    """An API that was emptied: no row goes, and the run that lists everything fails and says so."""
    for n in range(10):
        lab.kinto.put("items", f"r{n}", name=f"n{n}", price="1.00", stock=n)
    lab.sync()
    before = lab.local()
    lab.kinto.fresh("items")
    lab.sync()
    run_id = lab.start(full=True)
    lab.wait_ended(run_id)
    status, reason = lab.database.row("SELECT status, reason FROM runs WHERE run_id = %s", run_id)
    assert status == "failed" and "nothing is deleted" in reason
    assert lab.local() == before and sum(before.values()) == 10


def test_a_record_that_the_api_chokes_on_is_a_dead_letter_and_the_others_flow(lab: SyncLab) -> None:
    """It stands in a request with others; what the table cannot keep is a reject, and the others flow as well."""
    lab.kinto.choke_on("poison")
    lab.insert(["poison" if n == 5 else f"n{n}" for n in range(30)])
    lab.kinto.put("items", "long", name="x" * 30, price="1.00", stock=1)
    lab.kinto.put("items", "good", name="good", price="1.00", stock=1)
    run_id = lab.start("poisoned_sync")
    lab.wait_ended(run_id)
    assert {name for name, _, _ in lab.remote()} == {*(f"n{n}" for n in range(30) if n != 5), "x" * 30, "good"}
    assert {name for name, _, _ in lab.local()} == {*(f"n{n}" for n in range(30) if n != 5), "poison", "good"}
    assert lab.database.value("SELECT COUNT(*) FROM dead_letters WHERE run_id = %s", run_id) == 1
    assert lab.database.rows("SELECT entity, code FROM sync_rejects") == [("r:long", "too_long")]


def test_workers_an_hour_ahead_and_an_hour_behind_do_the_same(lab: SyncLab) -> None:
    """The same edits end the same as with right clocks, newest fields included, and no lease is lost."""
    right = _scripted(lab, "a")
    lab.stack.stop("sync")
    with _skewed_workers(lab, "+3600", "-3600"):
        # Longer than a lease: it is renewed by the database's clock.
        lab.failpoints.load("perform.before", f"delay {LEASE_S + 0.5}")
        assert _scripted(lab, "b") == right
        assert len(lab.failpoints.fired("perform.before")) == 1
        workers = {w for (w,) in lab.database.rows("SELECT worker FROM job_attempts WHERE worker LIKE 'skewed%'")}
        assert {worker.partition("@")[0] for worker in workers} == {"skewed0", "skewed1"}
    assert not {"lost", "crashed"} & lab.outcomes().keys()
    lab.stack.start_all()


def _scripted(lab: SyncLab, prefix: str) -> list[tuple[Any, ...]]:
    """Conflicts and edits of every sort, in an order that is always the same; how the things of this prefix end."""
    for n in range(12):
        lab.kinto.put("items", f"{prefix}{n}", name=f"{prefix}{n}", price="1.00", stock=1)
    lab.insert(f"{prefix}l{n}" for n in range(100))
    lab.sync()
    for n in range(12):
        row = lab.id_of(f"{prefix}{n}")
        if n < 4:
            # The table's is newer, by the two servers' clocks.
            lab.kinto.patch("items", f"{prefix}{n}", price="8.00")
            time.sleep(0.005)
            lab.change(f"UPDATE items SET price = 7 WHERE id = {row}", row)
        elif n < 8:
            lab.change(f"UPDATE items SET price = 7 WHERE id = {row}", row)
            time.sleep(0.005)
            lab.kinto.patch("items", f"{prefix}{n}", price="8.00")
        elif n < 10:
            lab.change(f"UPDATE items SET price = 7 WHERE id = {row}", row)
            lab.kinto.patch("items", f"{prefix}{n}", stock=8)
        else:
            lab.change(f"DELETE FROM items WHERE id = {row}", row)
            if n == 10:
                lab.kinto.patch("items", f"{prefix}{n}", stock=8)
    lab.sync()
    nothing_is_written_any_more(lab)
    assert lab.local() == lab.remote()
    return sorted((name.removeprefix(prefix), price, stock) for name, price, stock in lab.local() if name[0] == prefix)


@contextmanager
def _skewed_workers(lab: SyncLab, *shifts_s: str) -> Iterator[None]:
    """Workers of the sync queue in place of the stack's, each of which sees another time.

    libfaketime, and not a patched `time` module: C code, the drivers' and Celery's, sees the same wrong time.  Monotonic time
    is left alone, as a wrong wall clock does.
    """
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for number, shift in enumerate(shifts_s):
            environment = {"LD_PRELOAD": str(libfaketime()), "FAKETIME": f"{shift}s"}
            environment |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
            celery = ("-m", "celery", "-A", "tasks", "worker", "-Q", "sync", "-n", f"skewed{number}@%h")
            options = ("--concurrency", "1", "--without-gossip", "--without-mingle", "--loglevel", "INFO")
            workers.append(lab.stack.run_in_background(*celery, *options, environment=environment))
        names = {f"skewed{number}@{socket.gethostname()}" for number in range(len(shifts_s))}
        wait_until(lambda: answering_nodes(lab.stack.plan, names) == names, 60, "the workers to answer")
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
