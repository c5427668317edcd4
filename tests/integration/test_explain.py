"""explain: why isn't it running?"""

from __future__ import annotations

from datetime import datetime

import pytest

from locks import TokenLock
from ops.alerts.look import remember
from ops.checks import fail, warn
from ops.health import all_checks
from runstate import nodes
from runstate.alerts import Alert
from runstate.audit import Actor
from runstate.transaction import in_transaction
from stack.private import Servers
from tasks import clients, control
from tasks.envelope import run_jobs
from tasks.explain import concerns, conclusion, explain
from tests.integration.machinery import execute, planned, request, run_of, work_off
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")
NOW = datetime(2026, 1, 1)  # noqa: DTZ001 - the database's times are naive UTC


def codes(run_id: str) -> dict[str, str]:
    """The findings by code."""
    return {finding.code: finding.text for finding in explain(run_id).findings}


def beat(role: str, *queues: str) -> None:
    """A node that lives."""
    in_transaction(
        clients.engine(),
        lambda c: nodes.beat(c, name=f"{role}-{queues}", boot="b" * 8, role=role, queues=queues, host="h", pid=1),
    )


def test_a_missing_pool_and_missing_dispatchers_block() -> None:
    """No consumer on its queue is the first thing said."""
    run_id = planned(KEYED, n=2)
    findings = explain(run_id).findings
    assert findings[0].blocks
    assert conclusion(findings) is None
    assert "no worker consumes queue imports" in codes(run_id)["no_worker"]
    assert "no_dispatcher" in codes(run_id)
    beat("worker", "imports")
    beat("dispatcher")
    assert conclusion(explain(run_id).findings) == "nothing blocks it"


def test_what_waits_for_its_time_needs_nobody() -> None:
    """A job that is due later: neither blocked nor forgotten."""
    run_id = planned(KEYED, n=1)
    beat("worker", "imports")
    beat("dispatcher")
    execute("UPDATE jobs SET state = 'pending', queued_at = NULL, due_at = NOW(6) + INTERVAL 1 HOUR WHERE job_no = 1")
    assert conclusion(explain(run_id).findings) == "nothing blocks it; it waits, and goes on by itself"


def test_a_requested_run_shows_the_lock_that_delays_it() -> None:
    """Holder and TTL of the admission lock."""
    run_id = request(KEYED, n=1)
    assert TokenLock(clients.redis(), ["admission", "keyed", "k"], 30, "somebody@web1").acquire()
    assert "somebody@web1" in codes(run_id)["lock_held"]
    assert "requested" in codes(run_id)


def test_paused_stale_waiting_and_ended_say_so() -> None:
    """Each standing has its own word."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "retry", "delay_s": 90, "message": "the shop is closed"}])
    run_jobs(KEYED, run_id, 1, "w")
    found = codes(run_id)
    assert "due in" in found["next_due"]
    assert "the shop is closed" in found["last_error"]
    control.pause(run_id, Actor("anna", "lunch"))
    assert "anna: lunch" in codes(run_id)["paused"]
    control.resume(run_id, Actor("anna", "back"))
    execute("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR")
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 HOUR WHERE job_no = 1")
    assert "recover it" in codes(run_id)["stale"]
    control.recover(run_id, Actor("anna", "gone"), resume=False, force=True)
    assert "failed since" in codes(run_id)["ended"]


def test_jobs_ahead_are_those_of_other_runs() -> None:
    """A run that waits behind others is told how many."""
    planned(KEYED, key="other", n=3)
    run_id = planned(KEYED, n=1)
    assert "3 due jobs of other runs" in codes(run_id)["queue"]
    work_off(KEYED, run_id)


def test_a_broker_that_is_away_blocks(servers: Servers) -> None:
    """What cannot go out is said."""
    run_id = planned(KEYED, n=1)
    servers.valkey.kill()
    assert "broker_away" in codes(run_id)
    servers.valkey.start()


def test_alerts_that_concern_the_run_are_told() -> None:
    """What fires for its queue, its kind, for everybody, or names it; nothing of other queues and kinds."""
    run_id = planned(KEYED, n=1)
    fired = [
        fail("workers on imports", "none", "x"),
        fail("workers on email", "none", "x"),
        fail("dispatchers", "none beats", "x"),
        warn("failures of keyed", "9 of 20", "x"),
        warn("failures of import", "9 of 20", "x"),
        fail("stuck runs", f"{run_id} for 2 h", "x"),
        fail("paused by system", "somebody else", "x"),
    ]
    for _ in range(3):
        remember(fired)
        execute("UPDATE alerts SET since = since - INTERVAL 1 DAY")
    told = [finding.text.split("'")[1] for finding in explain(run_id).findings if finding.code == "alert"]
    assert sorted(told) == ["dispatchers", "failures of keyed", "stuck runs", "workers on imports"]


def test_the_alerts_are_called_as_the_checks_are() -> None:
    """Every cause that `explain` looks for is one that `ops health` makes for this run."""
    run_id = planned(KEYED, n=1)
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 1 MINUTE WHERE job_no = 1")
    work_off(FREE, planned(FREE, n=1))
    execute("UPDATE job_attempts SET started_at = NOW(6)")
    run = run_of(run_id)
    made = {check.name for check in all_checks()}
    concerning = {name for name in made if concerns(Alert(name, "firing", "fail", "", "", NOW, NOW, NOW), run)}
    everybodys = {"mysql", "redis", "broker", "disk", "dispatchers"}
    its_own = {"workers on imports", "work on imports", "backlog of keyed", "failures of keyed"}
    assert concerning == everybodys | its_own
    assert {"failures of free", "workers on email"} <= made - concerning
