"""What operators meet and do, on real workers, with nothing but the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Stack, wait_until
from tests.kinds import ALL, EFFECTS_TABLE, KEYED

KINDS = {"HOLDFAST_KINDS": ALL}
WHY = ("--reason", "a test", "--actor", "anna")
pytestmark = [pytest.mark.stack(**KINDS), pytest.mark.timeout(180)]


def ops(stack: Stack, *arguments: str, code: int = 0) -> Any:
    """What ``python -m ops … --json`` answers."""
    ran = stack.run("-m", "ops", *arguments, "--json", check=False)
    assert ran.returncode == code, f"{arguments}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return json.loads(ran.stdout)


def start(stack: Stack, kind: str, **arguments: Any) -> str:
    """A start as a producer makes it; the run's id."""
    code = f"from tasks import start_{kind} as s; print(s.delay(**{arguments!r}).run_id)"
    return stack.run("-c", code).stdout.strip()


def effects(stack: Stack) -> list[list[Any]]:
    """The rows that jobs have left."""
    code = (
        "import json; from tests.integration.machinery import query;"
        " print(json.dumps([list(r) for r in query('SELECT job_no, note FROM effects ORDER BY job_no')]))"
    )
    return list(json.loads(stack.run("-c", code).stdout))


@pytest.fixture
def desk(stack: Stack) -> Stack:
    """A stack with the test kinds and their table."""
    stack.run("-c", f"from tests.integration.machinery import execute; execute({EFFECTS_TABLE!r})")
    return stack


def show(stack: Stack, run_id: str) -> Any:
    """``runs show``."""
    return ops(stack, "runs", "show", run_id)


def wait_status(stack: Stack, run_id: str, status: str, timeout_s: float = 60) -> Any:
    """Wait until the run stands there."""
    wait_until(lambda: show(stack, run_id)["run"]["status"] == status, timeout_s, f"{run_id} to be {status}")
    return show(stack, run_id)


def test_a_job_that_always_fails_becomes_one_letter_and_is_replayed_once_its_cause_is_gone(desk: Stack) -> None:
    """max_attempts tries, one dead letter with its traceback; mended and replayed it is `replayed`, all of it audited."""
    run_id = start(desk, "keyed", jobs=[{"fails": 99, "message": "no such shop"}, {}, {}])
    shown = wait_status(desk, run_id, "completed")
    assert (shown["run"]["jobs_done"], shown["run"]["jobs_dead"]) == (2, 1)
    (letter,) = ops(desk, "dead-letters", "list")
    assert (letter["attempts"], letter["status"]) == (KEYED.backoff.max_attempts, "dead")
    assert "ValueError: no such shop" in letter["traceback"]
    ops(desk, "dead-letters", "edit", str(letter["id"]), "--payload", '{"note": "mended"}', *WHY)
    (replay,) = ops(desk, "dead-letters", "replay", str(letter["id"]), *WHY)["replays"]
    wait_status(desk, replay["replay_run_id"], "completed")
    after = ops(desk, "dead-letters", "show", str(letter["id"]))
    assert (after["status"], after["resolved_by"]) == ("replayed", "anna")
    assert sorted(note for _, note in effects(desk) if note) == ["mended"]


def test_pauses_longer_than_a_lease_cost_nothing(desk: Stack, tmp_path: Path) -> None:
    """Three times paused for longer than the lease with a job in hand: no crash, no attempt, and the run completes."""
    go = tmp_path / "go"
    run_id = start(desk, "keyed", jobs=[{"until": str(go)}, {"until": str(go)}])
    for _ in range(3):
        wait_until(lambda: show(desk, run_id)["jobs"].get("work", {}).get("running"), 30, "a job to run")
        ops(desk, "runs", "pause", run_id, *WHY)
        paused_at = time.monotonic()
        wait_until(lambda: not show(desk, run_id)["jobs"]["work"].get("running"), 15, "the job to stop")
        wait_until(lambda at=paused_at: time.monotonic() > at + KEYED.lease_s + 1, 15, "longer than a lease")  # type: ignore[misc]
        ops(desk, "runs", "resume", run_id, *WHY)
    go.touch()
    shown = wait_status(desk, run_id, "completed")
    endings = {attempts["outcome"]: attempts["count"] for attempts in shown["attempts"]}
    assert "crashed" not in endings
    assert "lost" not in endings
    assert "retry" not in endings
    assert endings["stopped"] >= 3
    assert [job for job, _ in effects(desk)] == [1, 2]


def test_a_stale_run_blocks_until_it_is_recovered_and_its_late_worker_writes_nothing(desk: Stack) -> None:
    """Pool and dispatchers frozen: a new start is refused as stale, --fail frees the key, and whoever wakes later is fenced."""
    old = start(desk, "brittle", jobs=[{"sleep_s": 20, "note": "old"}])
    wait_until(lambda: show(desk, old)["jobs"].get("work", {}).get("running"), 30, "the job to run")
    desk.freeze("imports")
    desk.freeze("dispatcher")
    try:
        wait_until(lambda: show(desk, old)["stale_since"], 30, "the run to be stale")
        refused = wait_status(desk, start(desk, "brittle", jobs=[{}]), "refused")["run"]
        assert "stale since" in refused["reason"]
        assert refused["refused_by"] == old
        seen = show(desk, old)["run"]["heartbeat_at"]
        ops(desk, "runs", "recover", old, "--fail", "--expect-heartbeat", seen, *WHY)
        newer = start(desk, "brittle", jobs=[{"note": "new"}])
        wait_status(desk, newer, "planning")
    finally:
        desk.thaw("dispatcher")
        desk.thaw("imports")
    wait_status(desk, newer, "completed")
    assert show(desk, old)["run"]["status"] == "failed"
    assert [note for _, note in effects(desk)] == ["new"]


SCHEDULE = '[ticking]\nkind = "free"\ncron = "*/3 * * * * *"\nargs = { n = 1 }\n'


@pytest.fixture(scope="module")
def schedules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one schedule, every three seconds."""
    path = tmp_path_factory.getbasetemp() / "schedules.toml"
    path.write_text(SCHEDULE)
    return path


def test_two_beats_start_one_run_a_tick(desk: Stack, schedules: Path) -> None:
    """Two beats side by side: as many runs as ticks, each with a nominal time of its own."""
    beats = [
        desk.run_in_background(
            "-m", "celery", "-A", "tasks", "beat", "--pidfile=", environment={"HOLDFAST_SCHEDULES": str(schedules)}
        )
        for _ in range(2)
    ]
    try:
        wait_until(lambda: len(ops(desk, "runs", "list", "--kind", "free", "--limit", "50")) >= 4, 60, "four ticks")
    finally:
        for beat in beats:
            beat.terminate()
        for beat in beats:
            beat.wait()
    runs = ops(desk, "runs", "list", "--kind", "free", "--limit", "50")
    asked = [show(desk, run["run_id"])["run"] for run in runs]
    keys = [run["idempotency_key"] for run in asked]
    assert len(set(keys)) == len(keys)
    assert all(int(key[-3:-1]) % 3 == 0 for key in keys)
