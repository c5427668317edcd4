"""What an error means for a job: a table."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta

import pymysql
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import ProgrammingError

from runstate.outcomes import Ending
from tasks.decide import MIN_SNOOZE_S, backoff_s, decide
from tasks.errors import FailRun, PauseRun, Permanent, ResourceTrouble, Retry, Snooze, WorkStopped
from tasks.kinds import Backoff, JobKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KIND = JobKind(
    name="k",
    queue="q",
    plan=lambda _args: (),
    perform=lambda _work: None,
    backoff=Backoff(max_attempts=4, base_s=2, cap_s=10),
    timeout_s=7,
)


def longest(_low: float, high: float) -> float:
    """Jitter that always waits as long as it may."""
    return high


@pytest.mark.parametrize(
    ("error", "attempt", "ending", "delay_s"),
    [
        (ValueError("x"), 1, Ending.RETRY, 2.0),
        (ValueError("x"), 2, Ending.RETRY, 4.0),
        (ValueError("x"), 3, Ending.RETRY, 8.0),
        (ValueError("x"), 4, Ending.DEAD, 0.0),
        (ValueError("x"), 9, Ending.DEAD, 0.0),
        (Retry("x"), 1, Ending.RETRY, 2.0),
        (Retry("x", not_before_s=60), 1, Ending.RETRY, 60.0),
        (Retry("x", not_before_s=1), 3, Ending.RETRY, 8.0),
        (Retry("x", not_before_s=60), 4, Ending.DEAD, 0.0),
        (Permanent("x"), 1, Ending.DEAD, 0.0),
        (FailRun("x"), 1, Ending.DEAD, 0.0),
        (Snooze(delay_s=30), 1, Ending.SNOOZE, 30.0),
        (Snooze(delay_s=30), 99, Ending.SNOOZE, 30.0),
        (Snooze(until=NOW + timedelta(minutes=5)), 1, Ending.SNOOZE, 300.0),
        (Snooze(until=NOW - timedelta(minutes=5)), 1, Ending.SNOOZE, MIN_SNOOZE_S),
        (ResourceTrouble("disk"), 4, Ending.SNOOZE, 0.0),
        (PauseRun("policy"), 4, Ending.SNOOZE, 0.0),
        (OSError(errno.ENOSPC, "No space left on device"), 4, Ending.SNOOZE, 0.0),
        (OSError(errno.ECONNRESET, "reset"), 1, Ending.RETRY, 2.0),
        (MemoryError(), 1, Ending.RETRY, 2.0),
        (SystemExit(1), 1, Ending.RETRY, 2.0),
        (SoftTimeLimitExceeded(), 1, Ending.RETRY, 2.0),
        (WorkStopped("timeout"), 1, Ending.RETRY, 2.0),
        (WorkStopped("timeout"), 4, Ending.DEAD, 0.0),
        (WorkStopped("paused"), 4, Ending.STOPPED, 0.0),
        (WorkStopped("cancelled"), 1, Ending.CANCELLED, 0.0),
    ],
)
def test_every_error_has_one_outcome(error: BaseException, attempt: int, ending: Ending, delay_s: float) -> None:
    """The table of tests that decide() is held to."""
    outcome = decide(error, attempt, KIND, jitter=longest, now=lambda: NOW)
    assert outcome is not None
    assert (outcome.ending, outcome.delay_s) == (ending, delay_s)


@pytest.mark.parametrize("reason", ["lease_lost", "fenced"])
def test_a_lost_claim_leaves_nothing_to_record(reason: str) -> None:
    """Whoever has the job now records it."""
    assert decide(WorkStopped(reason), 1, KIND) is None


def test_only_fail_run_fails_the_run_and_only_resource_trouble_pauses_it() -> None:
    """The two answers that reach beyond the job."""
    failed, paused = decide(FailRun("changed"), 1, KIND), decide(ResourceTrouble("full"), 1, KIND)
    assert failed is not None
    assert (failed.fail_run, failed.pause_run) == ("changed", None)
    assert paused is not None
    assert (paused.fail_run, paused.pause_run) == (None, "paused by system: full")


def test_an_unknown_exception_keeps_its_traceback_when_it_dies() -> None:
    """The dead letter shows where it came from."""
    try:
        raise ZeroDivisionError("here")
    except ZeroDivisionError as error:
        outcome = decide(error, 4, KIND)
    assert outcome is not None
    assert "test_an_unknown_exception_keeps" in (outcome.traceback or "")
    assert outcome.error_class == "ZeroDivisionError"


def test_jitter_is_full_and_capped() -> None:
    """Between nothing and min(cap, base * 2**(attempt - 1)), however large the attempt."""
    asked: list[tuple[float, float]] = []

    def note(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    for attempt in (1, 2, 3, 4, 1000):
        backoff_s(Backoff(max_attempts=9, base_s=2, cap_s=10), attempt, note)
    assert asked == [(0.0, 2.0), (0.0, 4.0), (0.0, 8.0), (0.0, 10.0), (0.0, 10.0)]


def test_a_refused_statement_is_told_without_the_statement() -> None:
    """Its values are somebody's data, and would make each letter a trouble of its own."""
    error = ProgrammingError(
        "INSERT INTO t VALUES ('a@example.com')", {}, pymysql.err.ProgrammingError(1146, "no table x")
    )
    outcome = decide(error, KIND.backoff.max_attempts, KIND)
    assert outcome is not None
    assert outcome.error == "MySQL 1146: no table x"
