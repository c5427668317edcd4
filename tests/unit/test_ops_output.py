"""What commands print."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops import exits
from ops.checks import fail, ok, report, warn
from ops.output import Output, duration, jsonable, plain
from runstate.statuses import RunStatus


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3600, "1 h 0 min"),
        (7620, "2 h 7 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, said: str) -> None:
    """Two units at most."""
    assert duration(seconds) == said


@given(st.text())
def test_no_text_can_steer_the_terminal(text: str) -> None:
    """Whatever other people wrote, one printable line comes out."""
    assert plain(text).isprintable()
    assert len(plain(text).splitlines()) <= 1


def test_times_are_utc_in_json_whether_they_say_so_or_not() -> None:
    """The database's naive times and Redis' aware ones read alike."""
    said = "2026-03-01T12:00:00.000000Z"
    assert jsonable(datetime(2026, 3, 1, 12)) == said  # noqa: DTZ001 - as the database gives it
    assert jsonable(datetime(2026, 3, 1, 12, tzinfo=UTC)) == said
    assert jsonable(datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))) == said
    assert jsonable({"status": RunStatus.FAILED, "all": (1, None)}) == {"status": "failed", "all": [1, None]}


@pytest.mark.parametrize(
    ("checks", "strict", "code"),
    [
        ([ok("a", "fine")], True, exits.OK),
        ([], False, exits.OK),
        ([ok("a", "fine"), warn("b", "hm", "look")], False, exits.OK),
        ([ok("a", "fine"), warn("b", "hm", "look")], True, exits.TROUBLE),
        ([fail("a", "bad", "mend"), ok("b", "fine")], False, exits.TROUBLE),
        ([fail("a", "bad", "mend"), warn("b", "hm", "look")], True, exits.TROUBLE),
    ],
)
def test_the_worst_check_decides_the_exit_code(
    checks: list[object], strict: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure is trouble; a warning only if one is strict."""
    assert report(checks, Output(as_json=True), strict=strict) == code  # type: ignore[arg-type]
    assert len(json.loads(capsys.readouterr().out)["checks"]) == len(checks)
    assert report(checks, Output(as_json=False), strict=strict) == code  # type: ignore[arg-type]
