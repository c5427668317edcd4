"""Metrics and statistics: what was counted anywhere is told once, in a format that Prometheus' own tool accepts."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection

from ops import statistics
from ops.metrics import exposition
from runstate.statistics import HourOfKind, hours_of_kinds
from stack.debian import promtool_program
from stack.private import Servers
from tasks import metrics, metrics_sink
from tests.integration.machinery import execute, planned, query, request, work_off
from tests.integration.ops_command import Ops
from tests.kinds import KEYED

pytestmark = pytest.mark.usefixtures("machinery", "nothing_counted")


@pytest.fixture
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    metrics.take()
    monkeypatch.setattr(metrics_sink, "_next_at", 0.0)
    yield
    metrics.take()


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition().decode())
        for sample in family.samples
    }


def value(name: str, **labels: str) -> float | None:
    return samples().get((name, tuple(sorted(labels.items()))))


def test_attempts_are_counted_and_timed() -> None:
    """Three done and one dead: counters by outcome, a histogram whose buckets add up."""
    work_off(KEYED, planned(KEYED, jobs=[{}, {}, {}, {"fails": 9, "error": "permanent"}]))
    metrics_sink.tell(at_once=True)
    assert value("holdfast_attempts_total", kind="keyed", outcome="done") == 4
    assert value("holdfast_attempts_total", kind="keyed", outcome="dead") == 1
    assert value("holdfast_attempt_seconds_count", kind="keyed") == 5
    assert value("holdfast_attempt_seconds_bucket", kind="keyed", le="+Inf") == 5
    assert value("holdfast_dead_letters") == 1


def test_admissions_and_refusals_are_counted() -> None:
    """By outcome, with the wait for the lock."""
    planned(KEYED, n=1, key="one")
    from tasks.admission import admit_run

    admit_run(KEYED, request(KEYED, n=1, key="one"))
    metrics_sink.tell(at_once=True)
    assert value("holdfast_admissions_total", kind="keyed", outcome="refused") == 1
    assert value("holdfast_admissions_total", kind="keyed", outcome="admitted") == 1
    assert value("holdfast_admission_lock_seconds_count", kind="keyed") == 2


def test_gauges_say_what_waits() -> None:
    """Jobs by state, the age of the oldest due one, runs by status."""
    run_id = planned(KEYED, n=6)
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 50 SECOND WHERE run_id = :r", r=run_id)
    assert value("holdfast_jobs", kind="keyed", state="queued") == 4
    assert 49 < (value("holdfast_due_age_seconds", kind="keyed") or 0) < 60
    assert value("holdfast_runs", status="running") == 1


def test_promtool_has_nothing_to_complain_of() -> None:
    """Names, types, help texts, histograms: checked by Prometheus' own tool."""
    work_off(KEYED, planned(KEYED, n=2))
    metrics_sink.tell(at_once=True)
    promtool = promtool_program()
    checked = subprocess.run(
        [str(promtool.path), "check", "metrics"],
        input=exposition(),
        capture_output=True,
        check=False,
        env=promtool.environment(),
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_without_redis_nothing_is_lost_or_slow(servers: Servers) -> None:
    """What cannot be told is kept; jobs do not ask again for half a minute; the gauges are there all the same."""
    metrics.count("holdfast_swept_total", 3, step="x")
    servers.valkey.kill()
    try:
        metrics_sink.tell(at_once=True)
        assert value("holdfast_redis_up") == 0
        assert value("holdfast_runs", status="running") == 0
    finally:
        servers.valkey.start()
    metrics_sink.tell()
    assert value("holdfast_swept_total", step="x") is None
    metrics_sink.tell(at_once=True)
    assert value("holdfast_swept_total", step="x") == 3


def test_a_name_that_nobody_declared_is_refused() -> None:
    """A typing error shows in tests, not as a series that nobody finds."""
    with pytest.raises(KeyError, match=r"tasks/metrics\.py"):
        metrics.count("holdfast_typo_total")
    with pytest.raises(KeyError, match=r"tasks/metrics\.py"):
        metrics.observe("holdfast_typo_seconds", 1)


def test_one_log_line_an_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """With outcome, duration and memory as fields."""
    with caplog.at_level(logging.INFO, "holdfast.envelope"):
        work_off(KEYED, planned(KEYED, n=3))
    lines = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [line["outcome"] for line in lines] == ["done"] * 4
    assert all(line["duration_ms"] >= 0 and line["peak_memory_kb"] > 0 for line in lines)


def attempts(durations_ms: list[int], outcome: str = "done") -> None:
    run_id = planned(KEYED, n=0, key=outcome)
    execute("DELETE FROM job_attempts WHERE run_id = :r", r=run_id)
    for number, duration_ms in enumerate(durations_ms, start=1):
        execute(
            "INSERT INTO job_attempts (run_id, job_no, claim_no, started_at, duration_ms, peak_memory_kb, outcome)"
            " VALUES (:r, :n, 1, DATE_FORMAT(NOW(6), '%Y-%m-%d %H:00:01'), :d, 1024, :o)",
            r=run_id,
            n=number,
            d=duration_ms,
            o=outcome,
        )


def test_statistics_by_kind_and_hour(capsys: pytest.CaptureFixture[str]) -> None:
    """Rate, mean, the 95th of a hundred, the longest."""
    attempts(list(range(1, 91)))
    attempts(list(range(91, 101)), "retry")
    found = Ops(capsys)("stats", "--json").document["hours"]
    (hour,) = [row for row in found if row["attempts"] == 100]
    assert (hour["kind"], hour["done"], hour["failed"], hour["failure_rate"]) == ("keyed", 90, 10, 0.1)
    assert (hour["mean_ms"], hour["p95_ms"], hour["longest_ms"]) == (50.5, 95.0, 100)
    assert "10.0%" in Ops(capsys)("stats").out


def test_fifty_who_ask_at_once_cost_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """Single flight: the database is asked once."""
    attempts([1, 2, 3])
    asked: list[int] = []
    real = hours_of_kinds

    def counted(connection: Connection, hours: int, kind: str | None) -> list[HourOfKind]:
        asked.append(1)
        return real(connection, hours, kind)

    monkeypatch.setattr(statistics, "hours_of_kinds", counted)
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(lambda _: json.dumps([row.attempts for row in statistics.statistics(24)[0]]), range(50))
        )
    assert (len(asked), set(answers)) == (1, {"[3]"})
    assert query("SELECT 1") == [(1,)]
