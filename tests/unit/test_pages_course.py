"""A run's course, alerts and figures as pages show them, by their tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ops.checks import Check, fail, ok, warn
from ops.pages import markup, show
from ops.pages.charts import bars, wait_bar
from ops.pages.course_chart import course
from ops.pages.hours import by_hour, by_kind
from ops.pages.run_course import course_of
from ops.pages.troubles import Watch, troubles
from runstate.alerts import Alert
from runstate.run_course import Slot
from runstate.statistics import HourOfKind
from runstate.statuses import RunStatus

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC).replace(tzinfo=None)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def run(**changed: Any) -> Any:
    """A run that was requested at 0, started at 1, and is looked at after 100 s."""
    given = {
        "requested_at": at(0),
        "started_at": at(1),
        "finished_at": None,
        "seen_at": at(100),
        "progress_at": at(90),
        "heartbeat_at": at(95),
        "status": RunStatus.RUNNING,
        "jobs_total": 3,
        "ended": changed.get("finished_at") is not None,
    }
    return SimpleNamespace(**{**given, **changed})


def moved(second: float, before: str, after: str) -> Any:
    return SimpleNamespace(id=int(second * 10), at=at(second), before={"status": before}, after={"status": after})


PAUSED = [moved(10, "running", "paused"), moved(30, "paused", "running")]
COURSES = [
    ("waits", run(started_at=None, status=RunStatus.REQUESTED), None, [], [("waiting", 100)]),
    ("plans", run(status=RunStatus.PLANNING), None, [], [("waiting", 1), ("planning", 99)]),
    ("runs", run(), at(4), [], [("waiting", 1), ("planning", 3), ("running", 96)]),
    ("has ended", run(finished_at=at(50)), at(4), [], [("waiting", 1), ("planning", 3), ("running", 46)]),
    (
        "was paused",
        run(),
        at(4),
        PAUSED,
        [("waiting", 1), ("planning", 3), ("running", 6), ("paused", 20), ("running", 70)],
    ),
    (
        "is paused by system, which writes no entry",
        run(status=RunStatus.PAUSED),
        at(4),
        [],
        [("waiting", 1), ("planning", 3), ("running", 86), ("paused", 10)],
    ),
    (
        "was cancelled while paused",
        run(finished_at=at(45), status=RunStatus.CANCELLED),
        at(4),
        [PAUSED[0], moved(40, "paused", "cancelling")],
        [("waiting", 1), ("planning", 3), ("running", 6), ("paused", 30), ("cancelling", 5)],
    ),
    ("had no jobs", run(finished_at=at(9), jobs_total=0), at(4), [], [("waiting", 1), ("planning", 8)]),
]


@pytest.mark.parametrize(
    ("given", "planned", "audit", "expected"), [c[1:] for c in COURSES], ids=[c[0] for c in COURSES]
)
def test_the_course_of_a_run(given: Any, planned: Any, audit: list[Any], expected: list[tuple[str, float]]) -> None:
    """One stretch after the other, without a gap, from the request to the end or to now."""
    found = course_of(given, planned, list(reversed(audit)))
    assert [(stretch.state, stretch.seconds) for stretch in found.stretches] == expected
    assert sum(stretch.seconds for stretch in found.stretches) == found.seconds
    drawn = course(found, [Slot(at(1), 3, 0, 0), Slot(at(50), 0, 1, 1)])
    assert drawn.count("<svg") == 1 and drawn.count('class="dead"') == 1
    assert ("last progress" in drawn) == (given.finished_at is None)


def alert(cause: str, status: str, level: str = "fail", *, since: float = 0, fired: float | None = 0) -> Alert:
    return Alert(cause, status, level, "found then", "do this", at(since), None if fired is None else at(fired), at(99))


def test_alerts_come_first_with_since_when_and_what_is_found_now() -> None:
    """Firing before new before recovering; failures before warnings, the oldest first; the look of now is the newer word."""
    watch = Watch(
        [
            alert("redis", "recovering", since=80, fired=10),
            alert("failures of import", "firing", "warn", fired=20),
            alert("stale runs", "firing", fired=60),
            alert("disk", "pending", "warn", since=95, fired=None),
            alert("workers on sync", "firing", fired=30),
        ],
        at(100),
        looked_s=3,
    )
    checks: list[Check] = [
        ok("mysql", "fine"),
        fail("stale runs", "found now", "x"),
        warn("new dead letters", "7", "y"),
    ]
    found = troubles(watch, checks)
    assert [(one.name, one.state, one.age_s) for one in found] == [
        ("workers on sync", "firing", 70),
        ("stale runs", "firing", 40),
        ("failures of import", "firing", 80),
        ("disk", "new", 5),
        ("new dead letters", "new", None),
        ("redis", "recovering", 90),
    ]
    assert found[1].found == "found now" and found[0].found == "found then"
    assert found[2].page == ("letters", {"kind": "import"})


@pytest.mark.parametrize(("looked_s", "told"), [(None, "ever looked"), (500.0, "for 500 s"), (20.0, "")])
def test_it_is_said_when_nobody_looks(looked_s: float | None, told: str) -> None:
    """Without beat no alert fires, however bad it is: a page that says all is well would lie."""
    found = troubles(Watch([], at(0), looked_s), [])
    assert (told in found[0].found) if told else found == []


def test_run_ids_in_texts_are_links_and_all_else_is_escaped() -> None:
    """Markup around an id, inside an address, and in what looks like one."""
    run_id = "01234567-89ab-4def-8123-456789abcdef"
    made = markup.linked(f"<b>{run_id}</b> password=hunter2 {run_id[:-1]}", lambda i: f'/x/{i}?"<')
    assert made.startswith(f'&lt;b&gt;<a class="mono" href="/x/{run_id}?&quot;&lt;">01234567</a>&lt;/b&gt;')
    assert "hunter2" not in made and made.count("<a") == 1


def test_long_texts_are_cut_and_open_whole() -> None:
    """Escaped in both places; a secret is masked before the text is cut, so that no half of it stays."""
    made = markup.cut("<i>" + "y" * 50, 10, 'k"')
    assert made.count("&lt;i&gt;") == 2 and "<i>" not in made and 'data-keep="k&quot;"' in made and "y" * 50 in made
    assert markup.cut("short", 10) == "<bdi>short</bdi>"
    assert "hunter" not in markup.cut("password=hunter2-and-more", 16)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"status": "running", "n": 1}, {"status": "paused", "n": 1}, "status: running → paused"),
        ({"password": "a", "n": 1}, {"password": "b", "n": 2}, "password: •••••• → ••••••; n: 1 → 2"),
        ({}, {"run_id": "x"}, "run_id: – → x"),
        ({"n": 1}, {"n": 1}, "nothing changed"),
        ({"heartbeat_at": "x", "n": 1}, {"heartbeat_at": "y", "n": 2}, "n: 1 → 2"),
        ({"heartbeat_at": "x"}, {"heartbeat_at": "y"}, "heartbeat_at: x → y"),
        ("cut …", {"n": 1}, '"cut …" → {"n": 1}'),
    ],
)
def test_what_an_action_changed(before: Any, after: Any, said: str) -> None:
    """Only what differs, secrets masked."""
    assert show.changed(before, after) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234567, "1,234,567"),
        (0, "0"),
        (2.5, "2.5"),
        (None, "–"),
        ("", "–"),
        (True, "True"),
        ("x" * 500, "x" * 400 + " …"),
    ],
)
def test_figures(value: Any, said: str) -> None:
    """Numbers with thousands apart, words cut."""
    assert show.figure(value) == said


@pytest.mark.parametrize(("per_s", "said"), [(12.34, "12.3 a second"), (0.5, "30.0 a minute"), (0.001, "3.6 an hour")])
def test_a_pace_is_a_number_that_can_be_read(per_s: float, said: str) -> None:
    """Never 0.0 jobs a second."""
    assert show.pace(per_s) == said


def test_one_failure_among_thousands_is_seen() -> None:
    """A bar of failures has a height that the eye finds; an empty chart is drawn, too."""
    drawn = bars([Slot(T0, 100_000, 1, 0)])
    assert 'class="failed"' in drawn and 'height="2.5"' in drawn
    assert "200,000" in drawn and "1 failed" in drawn
    assert "<svg" in bars([]) and 'width="100.0"' in wait_bar(600, 600) and 'width="10.0"' in wait_bar(6, 0)


def test_statistics_by_hour_and_by_kind() -> None:
    """Hours without attempts are there; means are weighted; the kind with most failures comes first."""
    hour = T0.replace(minute=0)
    rows = [
        HourOfKind("import", hour, 10, 9, 1, 100.0, 200.0, 300, 2048),
        HourOfKind("import", hour - timedelta(hours=1), 30, 30, 0, 500.0, 900.0, 950, None),
        HourOfKind("sync", hour, 5, 2, 3, 10.0, 20.0, 30, None),
    ]
    hours = by_hour(rows, T0 + timedelta(minutes=7))
    assert len(hours) == 24 and (hours[-1].done, hours[-1].failed, hours[-2].done, hours[0].done) == (11, 4, 30, 0)
    sync, imports = by_kind(rows)
    assert (sync.kind, sync.failed, sync.peak_memory_kb) == ("sync", 3, None)
    assert (imports.attempts, imports.mean_s, imports.p95_s, imports.peak_memory_kb) == (40, 0.4, 0.9, 2048)
