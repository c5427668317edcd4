"""Rates and the time that is left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from ops.pace import WINDOW_S, Look, Pace
from ops.watch import sentence
from runstate.runs import Run
from runstate.statuses import RunStatus

EPOCH = datetime(2026, 1, 1)  # noqa: DTZ001 - as the database gives it


def look(
    at: float, done: int, *, rows: int | None = None, status: str = "running", total: int = 100, **more: Any
) -> Look:
    values: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__) | {
        "run_id": "r",
        "kind": "k",
        "args": {},
        "status": RunStatus(status),
        "jobs_total": total,
        "jobs_done": done,
        "jobs_dead": 0,
        "jobs_cancelled": 0,
        "fence": 1,
        "seen_at": EPOCH,
    }
    return Look(at, Run(**(values | more)), rows)


def pace_of(*looks: Look) -> Pace:
    pace = Pace()
    for each in looks:
        pace.add(each)
    return pace


def test_a_steady_run_has_a_rate_and_an_end() -> None:
    """Ten jobs in five seconds: two a second, and 45 seconds for the ninety that are left."""
    pace = pace_of(look(0, 0, rows=0), look(5, 10, rows=5000))
    assert (pace.jobs_per_s, pace.rows_per_s, pace.eta_s) == (2, 1000, 45)


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    """A slow beginning is forgotten."""
    slow = [look(float(at), 0) for at in range(0, 100, 5)]
    fast = [look(100.0 + at, at) for at in range(0, 35, 5)]
    assert pace_of(*slow, *fast).jobs_per_s == pytest.approx(1, rel=0.2)
    assert WINDOW_S == 30


@pytest.mark.parametrize(
    "looks",
    [
        (),
        (look(0, 5),),
        (look(0, 5), look(0.01, 6)),
        (look(0, 5, status="planning"), look(5, 5, status="planning")),
        (look(0, 5), look(5, 10), look(6, 10, status="paused")),
        (look(0, 5), look(5, 10, status="paused"), look(500, 10)),
    ],
)
def test_there_is_no_rate_where_there_is_nothing_to_go_by(looks: tuple[Look, ...]) -> None:
    """One look, no time between two, planning, a pause: no rate and no end."""
    pace = pace_of(*looks)
    assert pace.jobs_per_s is None and pace.eta_s is None


def test_a_run_that_stands_still_has_no_end() -> None:
    """Nothing done in a while: the rate is zero, and the time left is not known."""
    pace = pace_of(look(0, 5), look(9, 5))
    assert pace.jobs_per_s == 0 and pace.eta_s is None


def test_a_sentence_says_how_it_stands() -> None:
    """Status, jobs, rows, rate, time left; the reason if there is one."""
    looks = (look(0, 0, rows=0), look(5, 10, rows=25_000, jobs_dead=1))
    assert (
        sentence(looks[1], pace_of(*looks)) == "running · 11/100 jobs · 1 dead · 25,000 rows · 5,000 rows/s · 40 s left"
    )
    ended = look(9, 10, status="failed", reason="the source changed")
    assert sentence(ended, pace_of(ended)) == "failed · 10/100 jobs · the source changed"
