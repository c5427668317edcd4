"""``ops limits`` on real servers: what it shows, what it changes, what it writes down."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from locks.limits import Limit, NotBefore, RateLimiter
from ops import exits
from tasks import clients
from tasks.explain import explain
from tests.integration.machinery import execute, planned, query
from tests.integration.ops_command import Ops
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery")

KEY = "email:provider:default"
RATES = {KEY: [Limit.parse("14/s"), Limit.parse("50000/day")]}


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    return Ops(capsys)


def _audit() -> list[tuple[str, str, str, str]]:
    with clients.engine().connect() as connection:
        rows = connection.execute(text("SELECT actor, action, subject, reason FROM audit_log ORDER BY id")).all()
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def test_limits_are_shown_with_what_is_left(ops: Ops) -> None:
    """Each limit of each key: how many went or are reserved, and how many are left."""
    limiter = RateLimiter(clients.redis())
    for _ in range(3):
        limiter.reserve(RATES, at_most_wait_s=5)
    limiter.slow_down("sync:connection:shop")
    shown = ops("limits")
    assert shown.code == exits.OK
    assert [line.split() for line in shown.out.splitlines()[1:]] == [
        [KEY, "14/s", "3", "11"],
        ["50000/day", "3", "49997"],
        ["sync:connection:shop", "50%"],
    ]
    (email, sync) = ops("limits", "list", "--json").document
    assert [(use["limit"], use["used"], use["left"]) for use in email["limits"]] == [
        ("14/s", 3, 11),
        ("50000/day", 3, 49997),
    ]
    assert (email["rate"], email["paused_s"], email["reserved"] <= 2) == (1, None, True)
    assert sync["rate"] == pytest.approx(0.5, abs=0.01)


def test_what_is_over_does_not_count_as_used(ops: Ops) -> None:
    """The window slides: a quarter of a minute's permits are free again when they are a minute old."""
    limiter = RateLimiter(clients.redis(), rebuild=lambda key, limit: [(90_000, 7), (80_000, 5), (10, 2)])
    limiter.reserve(RATES, at_most_wait_s=5)
    (email,) = ops("limits", "--json").document
    assert [(use["limit"], use["used"]) for use in email["limits"]] == [("14/s", 1), ("50000/day", 8)]


def test_pausing_and_resuming_act_at_once_and_are_written_down(ops: Ops) -> None:
    """Who, what and why stand in the audit log, and the pause says who."""
    limiter = RateLimiter(clients.redis())
    who = ["--actor", "ann", "--reason", "provider asked"]
    assert ops("limits", "pause", KEY, "--for", "60", *who).code == exits.OK
    refused = limiter.reserve(RATES, at_most_wait_s=1)
    assert isinstance(refused, NotBefore)
    assert refused.why == "paused: ann: provider asked"
    assert "ann: provider asked" in ops("limits").out
    shorter = ops("limits", "pause", KEY, "--for", "5", *who, "--json").document
    assert shorter["paused_s"] > 50
    assert ops("limits", "resume", KEY, "--actor", "bob", "--reason", "solved").code == exits.OK
    assert not isinstance(limiter.reserve(RATES, at_most_wait_s=1), NotBefore)
    assert _audit() == [
        ("ann", "limit_pause", KEY, "provider asked"),
        ("ann", "limit_pause", KEY, "provider asked"),
        ("bob", "limit_resume", KEY, "solved"),
    ]


def test_a_dry_run_changes_nothing_and_a_reason_is_needed(ops: Ops) -> None:
    """Nothing is paused, nothing is written down."""
    assert "would pause" in ops("limits", "pause", KEY, "--for", "60", "--dry-run").out
    assert ops("limits", "pause", KEY, "--for", "60").code == exits.USAGE
    assert ops("limits", "resume", KEY, "--reason", "x").code == exits.NOT_FOUND
    assert RateLimiter(clients.redis()).paused([KEY]) == {}
    assert _audit() == []


def test_explain_says_which_limits_hold_a_run_up(ops: Ops) -> None:
    """Paused, slowed down, used up: of the keys of the run's own queue."""
    limiter = RateLimiter(clients.redis())
    limiter.pause("imports:one", 60, "454 throttled")
    limiter.slow_down("imports:two")
    limiter.reserve({"imports:three": [Limit.parse("1/h")]}, at_most_wait_s=0)
    limiter.pause("email:provider:default", 60, "not this queue's")
    found = {
        (one.code, re.sub(r"for \d+ s", "for N s", one.text))
        for one in explain(planned(KEYED, n=1)).findings
        if one.code.startswith("limit_")
    }
    assert found == {
        ("limit_paused", "imports:one lets nothing through for N s: 454 throttled"),
        ("limit_slowed", "imports:two is slowed down to 50% of its rate; it recovers by itself"),
        ("limit_used_up", "imports:three: 1/h is used up"),
    }


def test_jobs_that_waited_for_a_limit_look_again_once_it_is_resumed(ops: Ops) -> None:
    """Those whose last error names the key, or is the pause's reason, are due now; what waits for something else is left alone."""
    run_id = planned(KEYED, n=4)
    for job_no, said in (
        (1, "limited by imports:one (paused: 454 on hold)"),
        (2, "connection reset"),
        (3, "limited by imports:two"),
        (4, "454 on hold"),
    ):
        statement = "UPDATE jobs SET state = 'pending', due_at = NOW(6) + INTERVAL 5 MINUTE, last_error = :said"
        execute(f"{statement} WHERE run_id = :run_id AND job_no = :job_no", said=said, run_id=run_id, job_no=job_no)
    RateLimiter(clients.redis()).pause("imports:one", 600, "454 on hold")
    assert ops("limits", "resume", "imports:one", "--reason", "solved").code == exits.OK
    assert query("SELECT job_no FROM jobs WHERE state = 'pending' AND due_at <= NOW(6) ORDER BY job_no") == [(1,), (4,)]
    assert '"jobs_woken":2' in query("SELECT after_state FROM audit_log")[0][0]
