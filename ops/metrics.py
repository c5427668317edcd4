"""Prometheus' view: counters that all processes add to in Redis, gauges read from MySQL when asked.

``python -m ops metrics`` prints it (for node_exporter's textfile collector, for example); Flower serves it at
``/holdfast/metrics``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from sqlalchemy import Connection

from locks import LockUnavailable
from locks.counters import read_counters
from ops import exits
from ops.output import Output
from ops.parsers import Commands
from runstate import alerts, nodes, overview
from runstate.transaction import in_transaction
from tasks import clients, metrics
from tasks.metrics_sink import series_of

ALIVE_S = 10.0


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("metrics", parents=[common], help="counters and gauges in Prometheus' text format")
    parser.set_defaults(run=show)


def show(_: argparse.Namespace, output: Output) -> int:
    """Print them."""
    text = exposition().decode()
    if output.as_json:
        output.document({"metrics": text})
    else:
        sys.stdout.write(text)
    return exits.OK


def exposition() -> bytes:
    """Everything, in the text format.  Raises `DatabaseUnavailable`; without Redis the counters are left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return bytes(generate_latest(registry))


class _Collector:
    def collect(self) -> Iterator[Any]:
        yield from in_transaction(clients.engine(), lambda c: list(_gauges(c)))
        try:
            found = {series_of(field): value for field, value in read_counters(clients.redis()).items()}
        except LockUnavailable:
            yield _gauge("holdfast_redis_up", "Whether Redis could be asked", 0)
            return
        yield _gauge("holdfast_redis_up", "Whether Redis could be asked", 1)
        yield from _counters(found)
        yield from _histograms(found)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(connection: Connection) -> Iterator[GaugeMetricFamily]:
    runs = GaugeMetricFamily(
        "holdfast_runs", "Runs by status; of those that have ended, the ones of the last 24 hours", labels=["status"]
    )
    for status, number in overview.status_counts(connection).items():
        runs.add_metric([status.value], number)
    yield runs
    jobs = GaugeMetricFamily("holdfast_jobs", "Jobs of active runs by kind and state", labels=["kind", "state"])
    due = GaugeMetricFamily("holdfast_due_age_seconds", "How long the oldest due job has been due", labels=["kind"])
    starts = GaugeMetricFamily("holdfast_starts_waiting", "Starts that wait for admission", labels=["kind"])
    for kind in overview.waiting(connection):
        for state, number in (("open", kind.open), ("queued", kind.queued), ("running", kind.running)):
            jobs.add_metric([kind.kind, state], number)
        due.add_metric([kind.kind], kind.due_age_s or 0.0)
        starts.add_metric([kind.kind], kind.starts)
    yield from (jobs, due, starts)
    yield _gauge("holdfast_dead_letters", "Dead letters that nobody has decided about", overview.dead_count(connection))
    living = GaugeMetricFamily("holdfast_nodes", "Processes that beat, by role", labels=["role"])
    roles = [node.role for node in nodes.all_nodes(connection) if node.age_s <= ALIVE_S]
    for role in ("worker", "dispatcher"):
        living.add_metric([role], roles.count(role))
    yield living
    firing = GaugeMetricFamily("holdfast_alert_firing", "Alerts that fire", labels=["cause", "level"])
    for alert in alerts.firing(connection):
        firing.add_metric([alert.cause, alert.level], 1)
    yield firing


def _counters(found: dict[metrics.Series, float]) -> Iterator[CounterMetricFamily]:
    for name, text in metrics.COUNTERS.items():
        of_name = {series: value for series, value in found.items() if series.name == name}
        labels = sorted({label for series in of_name for label, _ in series.labels})
        family = CounterMetricFamily(name, text, labels=labels)
        for series, value in sorted(of_name.items()):
            family.add_metric([dict(series.labels).get(label, "") for label in labels], value)
        yield family


def _histograms(found: dict[metrics.Series, float]) -> Iterator[HistogramMetricFamily]:
    bounds = [*(f"{bound:g}" for bound in metrics.SECONDS), "+Inf"]
    for name, text in metrics.HISTOGRAMS.items():
        by_labels: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
        for series, value in found.items():
            if series.name == name:
                by_labels.setdefault(series.labels, {})[series.part] = value
        labels = sorted({label for key in by_labels for label, _ in key})
        family = HistogramMetricFamily(name, text, labels=labels)
        for key, parts in sorted(by_labels.items()):
            total, buckets = 0.0, []
            for bound in bounds:
                total += parts.get(bound, 0.0)
                buckets.append((bound, total))
            family.add_metric([dict(key).get(label, "") for label in labels], buckets, parts.get("sum", 0.0))
        yield family
