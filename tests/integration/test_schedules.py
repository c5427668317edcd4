"""Schedules: one run a tick, whoever ticks; after an outage only the newest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runstate.statuses import RunStatus
from stack.private import Servers
from tasks.admission import admit_run
from tasks.beat import RunScheduler, start_due_tick
from tasks.celery import app
from tasks.schedules import BadSchedule, Schedule, load_schedules
from tests.integration.machinery import execute, planned, query, run_of
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")
HOURLY = Schedule("hourly", "keyed", "0 * * * *", {"n": 1})


def last_settled(ago: timedelta) -> None:
    """Make the schedule's last settled tick this old."""
    start_due_tick(HOURLY)
    execute("UPDATE schedules SET settled_until = NOW(6) - INTERVAL :s SECOND", s=int(ago.total_seconds()))


def test_a_new_schedule_begins_with_its_next_tick() -> None:
    """What was before it was deployed is not missed."""
    assert start_due_tick(HOURLY) is None
    assert query("SELECT COUNT(*) FROM runs") == [(0,)]


def test_after_an_outage_only_the_newest_missed_tick_starts() -> None:
    """Three hours away: one run, of the newest nominal time, and not again."""
    last_settled(timedelta(hours=3))
    run_id = start_due_tick(HOURLY)
    assert run_id is not None
    assert start_due_tick(HOURLY) is None
    key = run_of(run_id).idempotency_key or ""
    assert key.startswith("schedule:hourly:")
    age = datetime.now(UTC) - datetime.strptime(key.removeprefix("schedule:hourly:"), "%Y-%m-%dT%H:%M:%S%z")
    assert age < timedelta(hours=1, seconds=10)


def test_two_beats_start_one_run_a_tick() -> None:
    """Eight at once, one run: the key decides."""
    last_settled(timedelta(hours=2))
    with ThreadPoolExecutor(8) as pool:
        started = {run_id for run_id in pool.map(lambda _: start_due_tick(HOURLY), range(8)) if run_id}
    assert len(started) == 1
    assert query("SELECT COUNT(*) FROM runs")[0][0] == len(started)


def test_a_beat_that_dies_before_it_settles_starts_nothing_twice() -> None:
    """The tick is found again, under the same key."""
    last_settled(timedelta(hours=2))
    first = start_due_tick(HOURLY)
    execute("UPDATE schedules SET settled_until = NOW(6) - INTERVAL 2 HOUR")
    again = start_due_tick(HOURLY)
    assert first == again


def test_a_tick_that_meets_an_active_run_is_a_recorded_refusal() -> None:
    """It is a start like any other."""
    active = planned(KEYED, n=1)
    last_settled(timedelta(hours=2))
    run_id = start_due_tick(HOURLY)
    run = admit_run(KEYED, run_id or "").run
    assert (run.status, run.refused_by, run.requested_by) == (RunStatus.REFUSED, active, "schedule:hourly")


def test_a_database_outage_costs_no_tick(servers: Servers) -> None:
    """Beat says so and looks again soon; the tick is started when MySQL is back."""
    last_settled(timedelta(hours=2))
    scheduler = RunScheduler(app, lazy=True)
    scheduler.schedules = [HOURLY]
    servers.mariadb.kill()
    assert scheduler.tick() == 2.0
    servers.mariadb.start()
    scheduler.tick()
    assert query("SELECT COUNT(*) FROM runs") == [(1,)]


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        # The hour that is skipped in spring, and the one that comes twice in autumn.
        ("2026-03-29T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),
        ("2026-10-25T00:45:00+00:00", "2026-10-25T00:30:00+00:00"),
        ("2026-07-01T00:29:59+00:00", "2026-06-30T00:30:00+00:00"),
        ("2026-07-01T00:30:00+00:00", "2026-07-01T00:30:00+00:00"),
    ],
)
def test_ticks_follow_their_zone(now: str, newest: str) -> None:
    """Half past two in Berlin, summer and winter; a tick at its very second is due."""
    schedule = Schedule("s", "keyed", "30 2 * * *", {}, "Europe/Berlin")
    assert schedule.newest_tick(datetime.fromisoformat(now)) == datetime.fromisoformat(newest)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[a]\nkind = "keyed"\n', "give kind, cron and args"),
        ('[a]\nkind = "keyed"\ncron = "61 * * * *"\n', "cron"),
        ('[a]\nkind = "keyed"\ncron = "* * * * *"\nzone = "Mars/Base"\n', "time zone"),
        ('[a]\nkind = "nope"\ncron = "* * * * *"\n', "no kind of job called 'nope'"),
        ('[a]\nkind = "import"\ncron = "* * * * *"\n', "source"),
        ('[a]\nkind = "keyed"\ncron = "* * * * *"\ncorn = 1\n', "unknown setting corn"),
        ("[a\n", "line 1"),
    ],
)
def test_a_wrong_schedule_says_where_and_what(tmp_path: Path, text: str, says: str) -> None:
    """File, schedule and remedy, before beat runs."""
    path = tmp_path / "schedules.toml"
    path.write_text(text)
    with pytest.raises(BadSchedule, match=says):
        load_schedules(path)
    with pytest.raises(BadSchedule, match="No such file"):
        load_schedules(tmp_path / "none.toml")
