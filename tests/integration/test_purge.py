"""Retention: what is old goes, what is needed stays, and a purge that dies is gone on with."""

from __future__ import annotations

from typing import Any

import pytest

from runstate import audit, purge
from runstate.audit import Actor
from runstate.letters import Filter
from runstate.purge import Keep
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.retention import PURGE, batches
from tests.integration.machinery import execute, planned, query, request, run_of, work_off
from tests.integration.ops_command import Ops
from tests.kinds import FINISHING, KEYED

pytestmark = pytest.mark.usefixtures("machinery")
OPERATOR = Actor("t", "because")
KEEP = Keep()


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    return Ops(capsys)


def ended(days_ago: int, **kwargs: Any) -> str:
    """A run with two jobs that ended so long ago."""
    run_id = planned(KEYED, **{"n": 2, **kwargs})
    work_off(KEYED, run_id)
    age(run_id, days_ago)
    return run_id


def age(run_id: str, days: int) -> None:
    execute("UPDATE runs SET finished_at = NOW(6) - INTERVAL :d DAY WHERE run_id = :r", d=days, r=run_id)


def purge_all(keep: Keep = KEEP) -> dict[str, int]:
    """How many rows went, by part."""
    return {part: sum(batches(part, keep)) for part in ("runs", "dead_letters", "audit_log")}


def left() -> set[str]:
    return {row[0] for row in query("SELECT run_id FROM runs")}


def test_a_run_goes_with_all_its_rows_once_it_is_old() -> None:
    """29 days: all stays. 31 days: nothing is left of it, and of the younger one everything."""
    old, young = ended(31), ended(29)
    purge_all()
    assert left() == {young}
    for table in ("jobs", "job_attempts"):
        assert {row[0] for row in query(f"SELECT DISTINCT run_id FROM {table}")} == {young}, old


def test_spooled_lists_and_the_kinds_own_rows_go_with_their_run() -> None:
    """Parts of lists, rejects of an import."""
    run_id = request(FINISHING, names=["x" * 1000 for _ in range(100)])
    execute("UPDATE runs SET status = 'cancelled', kind = 'import' WHERE run_id = :r", r=run_id)
    execute(
        "INSERT INTO import_rejects (run_id, job_no, line_no, byte_offset, code, reason, raw, raw_bytes)"
        " VALUES (:r, 1, 1, 0, 'x', 'x', '', 0)",
        r=run_id,
    )
    age(run_id, 31)
    purge_all()
    assert query("SELECT (SELECT COUNT(*) FROM spooled_lists), (SELECT COUNT(*) FROM import_rejects)") == [(0, 0)]
    assert left() == set()


def test_failed_runs_are_kept_longer() -> None:
    """Ninety days unless told otherwise."""
    run_id = planned(KEYED, plan_error="no")
    assert run_of(run_id).status is RunStatus.FAILED
    control.discard(query("SELECT id FROM dead_letters")[0][0], OPERATOR)
    execute("UPDATE runs SET leftovers = 0")
    age(run_id, 89)
    purge_all()
    assert left() == {run_id}
    age(run_id, 91)
    purge_all()
    assert left() == set()


def test_a_letter_that_nobody_decided_about_keeps_its_run() -> None:
    """However old both are; discarded, the run goes, and the letter when its own time has come."""
    run_id = ended(400, do={"fails": 9, "error": "permanent"})
    execute("UPDATE dead_letters SET created_at = NOW(6) - INTERVAL 400 DAY")
    purge_all()
    assert left() == {run_id}
    for (letter,) in query("SELECT id FROM dead_letters"):
        control.discard(letter, OPERATOR)
    purge_all()
    assert left() == set()
    assert query("SELECT COUNT(*) FROM dead_letters") == [(2,)]
    execute("UPDATE dead_letters SET resolved_at = NOW(6) - INTERVAL 91 DAY")
    purge_all()
    assert query("SELECT COUNT(*) FROM dead_letters") == [(0,)]


def test_an_idempotency_key_stays_taken_for_thirty_days() -> None:
    """Whatever the policy: a start repeated within them must not run again."""
    run_id = ended(29, idempotency_key="k")
    purge_all(Keep(runs_days=1))
    assert left() == {run_id}
    age(run_id, 31)
    purge_all(Keep(runs_days=1))
    assert left() == set()


def test_active_and_unfinished_runs_are_never_touched() -> None:
    """A run that runs, one that is being cleared, and the parent of a replay that is under way."""
    running = planned(KEYED, n=2, key="a")
    execute("UPDATE runs SET started_at = NOW(6) - INTERVAL 900 DAY WHERE run_id = :r", r=running)
    clearing = ended(900, key="b")
    execute("UPDATE runs SET leftovers = 1 WHERE run_id = :r", r=clearing)
    parent = ended(900, key="c", do={"fails": 9, "error": "permanent"})
    (replay,) = control.replay(Filter(run_id=parent), OPERATOR).replays
    execute("UPDATE dead_letters SET status = 'replayed', resolved_at = NOW(6)")
    purge_all()
    assert left() == {running, clearing, parent, replay.replay_run_id}


def test_a_run_that_is_being_forgotten_is_not_replayed() -> None:
    """Half of its jobs are gone: an operator is told, nothing is done."""
    run_id = ended(31)
    assert in_transaction(clients.engine(), lambda c: purge.mark(c, [run_id])) == [run_id]
    refused = control.retry_rest(run_id, OPERATOR)
    assert "being forgotten" in (refused.refused or "")


def test_a_replay_that_came_first_keeps_its_run() -> None:
    """Between the look and the mark an operator may have started one."""
    run_id = ended(31, do={"fails": 9, "error": "permanent"})
    execute("UPDATE dead_letters SET status = 'discarded', resolved_at = NOW(6)")
    control.retry_rest(run_id, OPERATOR)
    assert in_transaction(clients.engine(), lambda c: purge.mark(c, [run_id])) == []


def test_a_purge_that_died_is_gone_on_with() -> None:
    """Marked and half deleted: the next one finds it, even under a policy that would keep it."""
    run_id = ended(31)
    in_transaction(clients.engine(), lambda c: purge.mark(c, [run_id]))
    in_transaction(clients.engine(), lambda c: purge.forget_rows(c, [run_id], 1))
    purge_all(Keep(runs_days=9999))
    assert left() == set()


def test_old_entries_of_the_audit_log_go() -> None:
    """A year, unless told otherwise."""
    for _ in range(3):
        in_transaction(clients.engine(), lambda c: audit.write(c, OPERATOR, "pause", "x", {}, {}))
    execute("UPDATE audit_log SET at = NOW(6) - INTERVAL 366 DAY ORDER BY id LIMIT 2")
    assert purge_all()["audit_log"] == 2
    assert query("SELECT COUNT(*) FROM audit_log") == [(1,)]


def test_it_runs_as_a_run_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """In slices: what a job does not finish, further jobs do; the result says how much there was."""
    monkeypatch.setattr("tasks.retention.SLICE_S", 0.0)
    old = [ended(40, key=str(n)) for n in range(3)]
    run_id = planned(PURGE)
    work_off(PURGE, run_id)
    run = run_of(run_id)
    assert run.status is RunStatus.COMPLETED
    assert run.result is not None
    assert run.result["runs"] >= 3 * (1 + 3 + 3)
    assert run.jobs_total > 3
    assert left() == {run_id}, old


def test_the_command_says_what_would_go_and_lets_it_go(ops: Ops) -> None:
    """A dry run changes nothing and counts; the real one wants a reason and stands in the audit log."""
    ended(31)
    dry = ops("purge", "--dry-run", "--json")
    assert dry.document["dry_run"]["runs"] == 1
    assert dry.document["dry_run"]["jobs"] == 3
    assert len(left()) == 1
    assert ops("purge").code == 2
    done = ops("purge", "--reason", "room", "--actor", "ann", "--json")
    assert (done.code, done.document["forgotten"]["runs"]) == (0, 7)
    assert left() == set()
    assert query("SELECT actor, action, reason FROM audit_log") == [("ann", "purge", "room")]
