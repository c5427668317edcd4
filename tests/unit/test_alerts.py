"""When an alert fires and clears, what each verdict is, and what a channel is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from locks.limit_answers import Pause
from locks.limit_list import LimitedKey
from ops import trouble
from ops.alerts.causes import consequences, same_server
from ops.alerts.channels import headline, slack_body
from ops.alerts.hysteresis import Event, step
from ops.checks import Check, Level, fail, ok, warn
from ops.judge_limits import judge_limits
from runstate.alerts import Alert, Notice
from runstate.overview import Waiting
from runstate.trouble import Tried

START = datetime(2026, 1, 1)  # noqa: DTZ001 - the database's times are naive UTC


def play(looks: list[tuple[int, Level]], *, patience_s: float = 30, calm_s: float = 60) -> list[tuple[int, Event]]:
    """What is told when, of looks at these seconds."""
    alert: Alert | None = None
    told = []
    for second, level in looks:
        alert, event = step(
            alert,
            Check("c", level, "found", "advice"),
            START + timedelta(seconds=second),
            patience_s=patience_s,
            calm_s=calm_s,
        )
        if event:
            told.append((second, event))
    return told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([(0, "fail"), (15, "fail"), (30, "fail"), (45, "fail")], [(30, "fired")]),
        ([(0, "fail"), (15, "ok"), (30, "fail"), (45, "fail")], []),
        ([(0, "warn"), (30, "warn"), (45, "fail"), (60, "fail")], [(30, "fired"), (45, "worse")]),
        ([(0, "fail"), (30, "fail"), (45, "warn"), (60, "fail")], [(30, "fired"), (60, "worse")]),
        (
            [(0, "fail"), (30, "fail"), (45, "ok"), (90, "ok"), (105, "ok"), (120, "ok")],
            [(30, "fired"), (105, "cleared")],
        ),
        ([(0, "fail"), (30, "fail"), (45, "ok"), (60, "fail"), (75, "ok"), (120, "ok")], [(30, "fired")]),
        ([(0, "ok"), (15, "ok")], []),
    ],
)
def test_an_alert_fires_and_clears_once(looks: list[tuple[int, Level]], told: list[tuple[int, Event]]) -> None:
    """Bad for long enough fires, good for long enough clears, and what flaps in between is told once."""
    assert play(looks) == told


def test_without_patience_it_fires_and_clears_at_once() -> None:
    """For those who want to hear of everything."""
    assert play([(0, "fail"), (1, "ok"), (2, "fail")], patience_s=0, calm_s=0) == [
        (0, "fired"),
        (1, "cleared"),
        (2, "fired"),
    ]


def test_what_was_wrong_stays_to_be_read_until_it_is_over() -> None:
    """While it recovers, the finding is the one that fired."""
    alert, _ = step(None, fail("c", "broken", "mend"), START, patience_s=0, calm_s=60)
    alert, _ = step(alert, ok("c", "fine"), START + timedelta(seconds=5), patience_s=0, calm_s=60)
    assert (alert.status, alert.found, alert.advice) == ("recovering", "broken", "mend")


@pytest.mark.parametrize(
    ("verdict", "level"),
    [
        (lambda: trouble.judge_failures(Tried("k", 19, 19), 0.2), "ok"),
        (lambda: trouble.judge_failures(Tried("k", 100, 19), 0.2), "ok"),
        (lambda: trouble.judge_failures(Tried("k", 100, 20), 0.2), "warn"),
        (lambda: trouble.judge_failures(Tried("k", 100, 50), 0.2), "fail"),
        (lambda: trouble.judge_letters({}), "ok"),
        (lambda: trouble.judge_letters({"k": 1}), "warn"),
        (lambda: trouble.judge_stuck([]), "ok"),
        (lambda: trouble.judge_stuck([("r", 3600)]), "fail"),
        (lambda: trouble.judge_paused([]), "ok"),
        (lambda: trouble.judge_paused([("r", "paused by system: disk")]), "fail"),
        (lambda: judge_limits([LimitedKey("k", (), None, 1.0, 0)]), "ok"),
        (lambda: judge_limits([LimitedKey("k", (), Pause(600.0, "454"), 1.0, 0)]), "warn"),
        (lambda: trouble.judge_backlog(Waiting("k", 1, 0, None, 5, 0, 0, None, None), 900), "ok"),
        (lambda: trouble.judge_backlog(Waiting("k", 1, 0, None, 5, 0, 0, 900.0, "r"), 900), "ok"),
        (lambda: trouble.judge_backlog(Waiting("k", 1, 0, None, 5, 0, 0, 901.0, "r"), 900), "warn"),
    ],
)
def test_verdicts(verdict: Callable[[], Check], level: str) -> None:
    """Each on both sides of its threshold; whatever is not ok says what to do."""
    check = verdict()
    assert check.level == level
    assert bool(check.advice) == (level != "ok")


@pytest.mark.parametrize(("free", "level"), [(11, "ok"), (9, "warn"), (2, "fail")])
def test_the_disk(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    """Warned of below a tenth, failed below three percent."""

    class Usage:
        total = 100 * 2**30

    Usage.free = free * 2**30  # type: ignore[attr-defined]
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    assert trouble.check_disk(Path("/")).level == level


def test_what_others_wrote_cannot_call_everybody() -> None:
    """A key or an error text with Slack's own marks is shown, not obeyed."""
    notice = Notice(1, "slack", "<!channel>", "fired", "fail", "key <!here> & co", "", START, 0)
    text = slack_body(notice)["attachments"][0]["text"]
    assert "<!" not in text
    assert "&lt;!here&gt; &amp; co" in text
    assert headline(notice).startswith("[ALERT] ")
    assert warn("a", "b", "c").level == "warn"


KINDS_OF = {"imports": ["import", "keyed"], "email": ["campaign"], "control": []}
EVERY = {"work on imports", "backlog of import", "backlog of keyed"}


@pytest.mark.parametrize(
    ("failed", "follow"),
    [
        ((), set()),
        (("workers on imports",), EVERY),
        (("workers on control",), {"starts", "work on control"}),
        (("redis",), {"broker"}),
        (("broker",), {*EVERY, "work on email", "work on control", "backlog of campaign", "starts"}),
        (("dispatchers",), {"backlog of import", "backlog of keyed", "backlog of campaign"}),
        (("stale runs", "disk", "new dead letters"), set()),
    ],
)
def test_what_follows_from_what(failed: tuple[str, ...], follow: set[str]) -> None:
    """One alert per cause: what is bad only because of another thing is not a cause."""
    checks = [fail(name, "broken", "mend it") for name in failed]
    assert consequences(checks, KINDS_OF, "control", one_redis=True) == follow


def test_another_redis_for_messages_is_another_cause() -> None:
    """The broker follows from Redis only where it is the same server."""
    checks = [fail("redis", "away", "mend it"), fail("broker", "away", "mend it")]
    assert "broker" not in consequences(checks, {}, "control", one_redis=False)
    assert same_server("redis://:pw@a:6379/0", "redis://:pw@a:6379/1")
    assert not same_server("redis://a:6379/0", "redis://a:6380/0")
    assert not same_server("memory://", "memory://")
