"""What operators do: pause, resume, cancel, recover; dead letters replayed once, discarded, edited."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from runstate import claims, letters
from runstate.audit import Actor
from runstate.control import Moved, NotAllowed
from runstate.errors import DatabaseUnavailable, Fenced
from runstate.letters import Filter, LetterNotDead
from runstate.outcomes import Ending, Measured, Outcome
from runstate.record import record
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.admission import admit_run
from tasks.control import Alive
from tasks.dispatcher import Dispatcher
from tasks.envelope import run_jobs
from tests.integration.machinery import admitted, execute, job, planned, query, queued, request, run_of, work_off
from tests.kinds import FINISHING, KEYED

pytestmark = pytest.mark.usefixtures("machinery")
ANNA = Actor("anna", "because")


def make_stale(run_id: str) -> None:
    """An hour without a heartbeat, with work due."""
    execute("UPDATE runs SET heartbeat_at = heartbeat_at - INTERVAL 1 HOUR WHERE run_id = :r", r=run_id)
    execute(
        "UPDATE jobs SET due_at = due_at - INTERVAL 1 HOUR, lease_until = lease_until - INTERVAL 1 HOUR WHERE run_id = :r",
        r=run_id,
    )


def dead_run(*, others: int = 1) -> str:
    """A completed run with one dead letter, job 1."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "permanent", "message": "broken"}, *[{}] * others])
    work_off(KEYED, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    return run_id


def the_letter() -> letters.Letter:
    """The one letter there is."""
    (letter,) = in_transaction(clients.engine(), lambda c: letters.find(c, Filter(status=None)))
    return letter


def do_replay(run_id: str) -> None:
    """What workers do with a replay run."""
    admit_run(KEYED, run_id)
    run_jobs(KEYED, run_id, 0, "w")
    work_off(KEYED, run_id)


def test_actions_need_an_actor_and_a_reason() -> None:
    """Nobody does anything anonymously or for no reason."""
    for name, reason in (("", "x"), ("x", " ")):
        with pytest.raises(ValueError, match="actor and a reason"):
            Actor(name, reason)


def test_pause_and_resume_are_audited_and_cost_nothing() -> None:
    """A paused run starts no job; resumed it goes on; both stand in the audit log with who and why."""
    run_id = planned(KEYED, n=2)
    assert control.pause(run_id, ANNA).status is RunStatus.PAUSED
    assert run_jobs(KEYED, run_id, 1, "w") == []
    assert run_jobs(KEYED, run_id, 2, "w") == []
    with pytest.raises(NotAllowed, match="paused"):
        control.pause(run_id, ANNA)
    assert control.resume(run_id, ANNA).status is RunStatus.RUNNING
    Dispatcher().round()
    work_off(KEYED, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert query("SELECT actor, action, reason FROM audit_log ORDER BY id") == [
        ("anna", "pause", "because"),
        ("anna", "resume", "because"),
    ]
    assert query("SELECT MAX(crashes), MAX(attempts) FROM jobs") == [(0, 0)]


def test_pause_stops_a_job_in_a_workers_hands_at_no_cost() -> None:
    """The work hears of the pause at its next look and goes back to pending: no attempt, no crash."""
    run_id = planned(KEYED, jobs=[{"sleep_s": 20}])
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(run_jobs, KEYED, run_id, 1, "w")
        while job(run_id, 1).state != "running":
            pass
        control.pause(run_id, ANNA)
        (performed,) = doing.result(timeout=10)
    assert performed.outcome is not None
    assert performed.outcome.ending is Ending.STOPPED
    row = job(run_id, 1)
    assert (row.state, row.attempts, row.crashes) == ("pending", 0, 0)


def test_cancel_stops_a_job_in_a_workers_hands_and_ends_the_run() -> None:
    """Cancelling becomes cancelled once nobody works on it; its key is free then."""
    run_id = planned(KEYED, jobs=[{"sleep_s": 20}, {}])
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(run_jobs, KEYED, run_id, 1, "w")
        while job(run_id, 1).state != "running":
            pass
        assert control.cancel(run_id, ANNA).status is RunStatus.CANCELLING
        doing.result(timeout=10)
    Dispatcher().round()
    run = run_of(run_id)
    assert (run.status, run.jobs_cancelled, run.jobs_open) == (RunStatus.CANCELLED, 2, 0)
    assert query("SELECT COUNT(*) FROM effects") == [(0,)]
    assert admitted(KEYED, n=1)


def test_cancel_before_admission_ends_the_start() -> None:
    """A start that nobody has admitted is simply taken back."""
    run_id = request(KEYED, n=1)
    assert control.cancel(run_id, ANNA).status is RunStatus.CANCELLED
    assert admit_run(KEYED, run_id).run.status is RunStatus.CANCELLED


def test_a_living_run_is_not_recovered_unless_forced() -> None:
    """Recovery is for stale runs; a healthy one says so."""
    run_id = planned(KEYED, n=1)
    with pytest.raises(Alive, match="not stale"):
        control.recover(run_id, ANNA, resume=False)
    assert control.recover(run_id, ANNA, resume=False, force=True).status is RunStatus.FAILED


def test_recovery_aborts_when_the_run_moved_since_the_operator_looked() -> None:
    """The heartbeat that the operator saw must still stand."""
    run_id = planned(KEYED, n=1)
    make_stale(run_id)
    seen = run_of(run_id).heartbeat_at
    assert seen is not None
    with pytest.raises(Moved):
        control.recover(run_id, ANNA, resume=False, heartbeat=seen - timedelta(seconds=1))
    assert run_of(run_id).status is RunStatus.RUNNING
    assert control.recover(run_id, ANNA, resume=False, heartbeat=seen).status is RunStatus.FAILED


def test_a_failed_recovery_frees_the_key_and_the_late_worker_writes_nothing() -> None:
    """The worker that wakes up after its run was given up rolls back, and cannot touch the newer run."""
    run_id = planned(KEYED, n=1)
    late = in_transaction(
        clients.engine(),
        lambda c: claims.claim(c, run_id, 1, token=claims.new_token(), lease_s=3, worker="w", boot="b" * 8),
    )
    assert late is not None
    make_stale(run_id)
    control.recover(run_id, ANNA, resume=False, heartbeat=run_of(run_id).heartbeat_at)
    newer = planned(KEYED, n=1)
    with pytest.raises(Fenced):
        in_transaction(clients.engine(), lambda c: record(c, late, Outcome(Ending.DONE), Measured()))
    assert run_of(newer).status is RunStatus.RUNNING
    assert run_of(run_id).jobs_done == 0


def test_a_resumed_recovery_raises_the_fence_and_goes_on() -> None:
    """Claims of the old fence are void, their jobs are done again, nothing is counted against them."""
    run_id = planned(KEYED, n=2)
    late = in_transaction(
        clients.engine(),
        lambda c: claims.claim(c, run_id, 1, token=claims.new_token(), lease_s=3, worker="w", boot="b" * 8),
    )
    assert late is not None
    make_stale(run_id)
    resumed = control.recover(run_id, ANNA, resume=True, heartbeat=run_of(run_id).heartbeat_at)
    assert (resumed.status, resumed.fence) == (RunStatus.RUNNING, late.fence + 1)
    with pytest.raises(Fenced):
        in_transaction(clients.engine(), lambda c: record(c, late, Outcome(Ending.DONE), Measured()))
    Dispatcher().round()
    work_off(KEYED, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert query("SELECT COUNT(*), COUNT(DISTINCT job_no) FROM effects") == [(2, 2)]
    assert query("SELECT MAX(crashes) FROM jobs") == [(0,)]


def test_a_letter_is_replayed_in_a_run_of_its_own_and_resolved() -> None:
    """Cause removed (the payload edited beside the original), replayed through admission, audited."""
    parent = dead_run()
    letter = the_letter()
    control.edit(letter.id, {"note": "mended"}, ANNA)
    report = control.replay(Filter(ids=[letter.id]), ANNA)
    (done,) = report.replays
    assert done.replay_run_id not in (None, parent)
    do_replay(done.replay_run_id or "")
    after = the_letter()
    assert (after.status, after.resolved_by, after.replay_run_id) == ("replayed", "anna", done.replay_run_id)
    assert after.payload["message"] == "broken"
    replayed = run_of(done.replay_run_id or "")
    assert (replayed.status, replayed.parent_run_id, replayed.jobs_total) == (RunStatus.COMPLETED, parent, 1)
    assert ("mended",) in query("SELECT note FROM effects")
    assert [row[0] for row in query("SELECT action FROM audit_log ORDER BY id")] == ["edit_letter", "replay"]


def test_a_replay_that_fails_again_is_dead_again_with_its_history() -> None:
    """The same letter, more attempts, no second letter."""
    dead_run()
    (done,) = control.replay(Filter(), ANNA).replays
    do_replay(done.replay_run_id or "")
    letter = the_letter()
    assert (letter.status, letter.attempts) == ("dead", 2)


def test_twenty_replays_of_one_letter_at_once_have_one_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    """All twenty have seen it dead before one of them takes it: one wins, the others are told that somebody has it."""
    run_id = dead_run()
    letter_id = the_letter().id
    monkeypatch.setattr(letters, "dead_by_run", lambda *_: {run_id: [letter_id]})
    with ThreadPoolExecutor(10) as pool:
        reports = list(pool.map(lambda _: control.replay(Filter(ids=[letter_id]), ANNA), range(20)))
    assert sum(report.taken for report in reports) == 1
    assert sum("somebody else" in (done.refused or "") for report in reports for done in report.replays) == 19
    assert query("SELECT COUNT(*) FROM runs WHERE parent_run_id IS NOT NULL") == [(1,)]


def test_a_replay_in_an_active_run_goes_back_to_pending_under_its_fence() -> None:
    """The run is still going: its dead job becomes pending, the counters follow, the run ends complete."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "permanent"}, {}, {}])
    run_jobs(KEYED, run_id, 1, "w")
    letter = the_letter()
    control.edit(letter.id, {}, ANNA)
    (done,) = control.replay(Filter(ids=[letter.id]), ANNA).replays
    assert done.replay_run_id == run_id
    assert (job(run_id, 1).state, run_of(run_id).jobs_dead) == ("pending", 0)
    Dispatcher().round()
    work_off(KEYED, run_id)
    run = run_of(run_id)
    assert (run.status, run.jobs_done, run.jobs_dead) == (RunStatus.COMPLETED, 3, 0)
    assert the_letter().status == "replayed"


def test_replay_is_refused_over_a_newer_completed_run_unless_told() -> None:
    """Older work does not go over newer work by accident."""
    dead_run()
    work_off(KEYED, planned(KEYED, n=1))
    (refused,) = control.replay(Filter(), ANNA).replays
    assert "over-newer" in (refused.refused or "")
    assert the_letter().status == "dead"
    (done,) = control.replay(Filter(), ANNA, over_newer=True).replays
    assert done.refused is None


def test_a_replay_refused_at_admission_leaves_the_letter_dead() -> None:
    """The key is held by another run: the letter is dead again, not lost in between."""
    dead_run()
    planned(KEYED, n=1)
    (done,) = control.replay(Filter(), ANNA).replays
    assert admit_run(KEYED, done.replay_run_id or "").run.status is RunStatus.REFUSED
    Dispatcher().round()
    assert the_letter().status == "dead"


def test_dry_run_touches_nothing_and_throttle_spreads_the_jobs() -> None:
    """First see how many, then do them at a rate."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "permanent"}] * 4)
    work_off(KEYED, run_id)
    dry = control.replay(Filter(kind="keyed"), ANNA, dry_run=True)
    assert dry.taken == 4
    assert query("SELECT COUNT(*) FROM dead_letters WHERE status = 'dead'") == [(4,)]
    (done,) = control.replay(Filter(kind="keyed"), ANNA, per_s=0.1).replays
    admit_run(KEYED, done.replay_run_id or "")
    run_jobs(KEYED, done.replay_run_id or "", 0, "w")
    (spread,) = query(
        "SELECT TIMESTAMPDIFF(SECOND, MIN(due_at), MAX(due_at)) FROM jobs WHERE run_id = :r AND role = 'work'",
        r=done.replay_run_id,
    )
    assert 29 <= spread[0] <= 31


def test_retry_the_rest_does_what_a_failed_run_left() -> None:
    """Dead letters and jobs never done, in a new run; what was done is not done again."""
    run_id = planned(KEYED, jobs=[{"note": "one"}, {"fail_run": "stop here"}, {"note": "three"}, {"note": "four"}])
    run_jobs(KEYED, run_id, 2, "w")
    assert run_of(run_id).status is RunStatus.FAILED
    Dispatcher().round()
    retried = control.retry_rest(run_id, ANNA)
    do_replay(retried.replay_run_id or "")
    assert run_of(retried.replay_run_id or "").jobs_done == 3
    assert sorted(row[0] or "" for row in query("SELECT note FROM effects")) == ["", "four", "one", "three"]


def test_a_planning_that_failed_can_be_replayed() -> None:
    """Its letter is resolved when the plan is written after all."""
    planned(KEYED, plan_error="not there yet")
    letter = the_letter()
    execute("UPDATE runs SET args = :args", args='{"n":2}')
    (done,) = control.replay(Filter(ids=[letter.id]), ANNA).replays
    do_replay(done.replay_run_id or "")
    assert run_of(done.replay_run_id or "").jobs_done == 2
    assert the_letter().status == "replayed"


def test_the_letter_of_a_finish_says_why_it_cannot_be_replayed() -> None:
    """A finish sums up its own run's jobs."""
    run_id = planned(FINISHING, n=1)
    work_off(FINISHING, run_id)
    execute(
        "INSERT INTO dead_letters (run_id, job_no, kind, payload, error_class, error, attempts, fingerprint, status,"
        " first_failed_at, created_at) VALUES (:r, 2, 'finishing', '{}', 'E', 'e', 1, 'f', 'dead', NOW(6), NOW(6))",
        r=run_id,
    )
    (refused,) = control.replay(Filter(), ANNA).replays
    assert "finish" in (refused.refused or "")


def test_a_discarded_letter_stays_discarded() -> None:
    """Discarded once, with who and why; not again, and not replayed."""
    dead_run()
    letter = the_letter()
    assert control.discard(letter.id, ANNA).status == "discarded"
    with pytest.raises(LetterNotDead):
        control.discard(letter.id, ANNA)
    assert control.replay(Filter(ids=[letter.id]), ANNA).taken == 0


def test_letters_are_grouped_by_the_same_trouble() -> None:
    """Numbers and quoted names do not make another trouble."""
    work_off(
        KEYED,
        planned(KEYED, jobs=[{"fails": 1, "error": "permanent", "message": f"row {n} is 'bad{n}'"} for n in range(3)]),
    )
    (group,) = in_transaction(clients.engine(), lambda c: letters.groups(c, Filter()))
    assert (group.kind, group.count) == ("keyed", 3)
    assert queued("none") == []


def test_a_database_that_goes_away_during_a_replay_has_refused_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator hears of the outage, not of a refusal, and the letter is as it was."""
    dead_run()

    def gone(_point: str, _connection: object = None) -> None:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr("tasks.failpoints.hit", gone)
        with pytest.raises(DatabaseUnavailable):
            control.replay(Filter(), ANNA)
    assert the_letter().status == "dead"
