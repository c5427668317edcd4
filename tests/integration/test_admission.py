"""Who may go from requested to planning."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError

from runstate import runs
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import admission, clients
from tasks.admission import admit_run
from tasks.errors import BadArguments, IdempotencyConflict
from tasks.requests import make_request, write_request
from tests.integration.machinery import execute, planned, query, request, run_of, work_off
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


def test_first_start_is_admitted_with_fence_and_job_zero() -> None:
    """A start whose key is free becomes planning, with fence 1 and job 0 let out, in one transaction."""
    run = admit_run(KEYED, request(KEYED, n=1)).run
    assert (run.status, run.fence) == (RunStatus.PLANNING, 1)
    assert query("SELECT job_no, role, state FROM jobs") == [(0, "plan", "queued")]


def test_second_start_is_refused_and_names_the_active_run() -> None:
    """A start of a key that is held is refused, by name, with how alive the holder is."""
    first = planned(KEYED, n=1)
    refused = admit_run(KEYED, request(KEYED, n=1)).run
    assert refused.status is RunStatus.REFUSED
    assert refused.refused_by == first
    assert first in (refused.reason or "")
    assert "running" in (refused.reason or "")


def test_key_is_free_after_completion_and_the_fence_rises() -> None:
    """The next run of a key gets the next fence."""
    first = planned(KEYED, n=1)
    work_off(KEYED, first)
    assert run_of(first).status is RunStatus.COMPLETED
    assert admit_run(KEYED, request(KEYED, n=1)).run.fence == 2


def test_kinds_without_exclusivity_run_side_by_side() -> None:
    """Without an admission key nothing is refused."""
    assert {admit_run(FREE, request(FREE, n=1)).run.status for _ in range(3)} == {RunStatus.PLANNING}


def test_same_start_delivered_twice_is_one_run() -> None:
    """A second delivery of a start changes nothing and says so."""
    run_id = request(KEYED, n=1)
    assert admit_run(KEYED, run_id).fresh
    again = admit_run(KEYED, run_id)
    assert not again.fresh
    assert again.run.fence == 1
    assert query("SELECT COUNT(*) FROM jobs") == [(1,)]


def test_forty_admissions_at_once_admit_one() -> None:
    """However many decide at once, one is admitted and every other names it; nobody sees an error."""
    ids = [request(KEYED, n=1) for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        decided = list(pool.map(lambda run_id: admit_run(KEYED, run_id).run, ids))
    admitted = [run for run in decided if run.status is RunStatus.PLANNING]
    assert len(admitted) == 1
    assert {run.refused_by for run in decided if run.status is RunStatus.REFUSED} == {admitted[0].run_id}


def test_admission_decides_in_mysql_when_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis the fence row and the unique key decide alone."""
    monkeypatch.setattr(clients, "redis", lambda: __import__("locks").connect("redis://127.0.0.1:1/0"))
    ids = [request(KEYED, n=1) for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        decided = [run.status for run in pool.map(lambda run_id: admit_run(KEYED, run_id).run, ids)]
    assert sorted(decided) == [RunStatus.PLANNING, *[RunStatus.REFUSED] * 11]


def test_the_unique_key_is_the_final_no() -> None:
    """Even a transaction that looks at nothing cannot make two runs of a key active."""
    planned(KEYED, n=1)
    second = request(KEYED, n=1)
    with pytest.raises(IntegrityError, match="uq_runs_active_key"):
        in_transaction(clients.engine(), lambda c: runs.set_planning(c, second, 99))


def test_a_lock_that_runs_out_during_admission_admits_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An admission slower than its lock's TTL is still alone: the fence row is the mutex."""
    inside = threading.Barrier(2, timeout=10)
    real = admission._decide

    def slow(connection, kind, run_id):  # type: ignore[no-untyped-def]
        inside.wait()
        return real(connection, kind, run_id)

    monkeypatch.setattr(admission, "_decide", slow)
    monkeypatch.setattr(admission, "settings", type("S", (), {"lock_ttl_s": 0.05}))
    ids = [request(KEYED, n=1), request(KEYED, n=1)]
    with ThreadPoolExecutor(2) as pool:
        decided = sorted(run.status for run in pool.map(lambda run_id: admit_run(KEYED, run_id).run, ids))
    assert decided == [RunStatus.PLANNING, RunStatus.REFUSED]


def test_stale_holder_is_named_as_stale() -> None:
    """A start that meets a stale run is refused with the word stale and what to do."""
    holder = planned(KEYED, n=1)
    execute("UPDATE runs SET heartbeat_at = heartbeat_at - INTERVAL 1 HOUR")
    execute("UPDATE jobs SET due_at = due_at - INTERVAL 1 HOUR WHERE job_no > 0")
    refused = admit_run(KEYED, request(KEYED, n=1)).run
    assert "stale since" in (refused.reason or "")
    assert f"runs recover {holder}" in (refused.reason or "")


def test_idempotency_key_leads_to_the_first_run() -> None:
    """A second start with the same key and arguments is the first one's run, whatever became of it."""
    first = write_request(make_request(KEYED, (), {"n": 1, "idempotency_key": "order-7"}))
    again = write_request(make_request(KEYED, (), {"n": 1, "idempotency_key": "order-7"}))
    assert again.run_id == first.run_id
    with pytest.raises(IdempotencyConflict, match=first.run_id):
        write_request(make_request(KEYED, (), {"n": 2, "idempotency_key": "order-7"}))


@pytest.mark.parametrize(
    "kwargs", [{"note": "x" * 70_000}, {"n": float("nan")}, {"n": object()}, {"idempotency_key": ""}]
)
def test_wrong_arguments_raise_at_once_and_record_nothing(kwargs: dict[str, object]) -> None:
    """What is too long or no JSON is told to the producer, before any row."""
    with pytest.raises(BadArguments, match="start_keyed"):
        write_request(make_request(KEYED, (), kwargs))
    assert query("SELECT COUNT(*) FROM runs") == [(0,)]
