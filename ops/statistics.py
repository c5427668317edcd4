"""``ops stats``: failure rate, durations and throughput by kind and hour, computed by one and read by all."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import datetime
from typing import Any

from locks.cache import SharedCache
from ops import exits
from ops.output import Output, duration, jsonable
from ops.parsers import Commands, positive
from runstate.statistics import HourOfKind, hours_of_kinds
from runstate.transaction import in_transaction
from tasks import clients

SOFT_S, HARD_S = 60.0, 3600.0
"""Younger than this it is shown as it is; older, one reader computes it anew and the others see the old one."""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "stats", parents=[common], help="failure rate, durations and throughput by kind and hour"
    )
    parser.add_argument("--hours", type=positive, default=24, help="how far back (default %(default)s)")
    parser.add_argument("--kind", help="only of this kind")
    parser.set_defaults(run=show)


def statistics(hours: int, kind: str | None = None) -> tuple[list[HourOfKind], float]:
    """The statistics and their age in seconds; fifty who ask at once cost one query."""

    def compute() -> list[dict[str, Any]]:
        found = in_transaction(clients.engine(), lambda c: hours_of_kinds(c, hours, kind))
        return [{**asdict(each), "hour": each.hour.isoformat()} for each in found]

    cached = SharedCache(clients.redis(), soft_s=SOFT_S, hard_s=HARD_S).get(["stats", hours, kind], compute)
    rows = [HourOfKind(**{**row, "hour": datetime.fromisoformat(row["hour"])}) for row in cached.value]
    return rows, cached.age_s


def show(options: argparse.Namespace, output: Output) -> int:
    """Print them."""
    rows, age_s = statistics(options.hours, options.kind)
    if output.as_json:
        output.document({"age_s": age_s, "hours": [jsonable(row) | {"failure_rate": row.failure_rate} for row in rows]})
        return exits.OK
    output.table(
        ("HOUR (UTC)", "KIND", "ATTEMPTS>", "DONE>", "FAILED>", "RATE>", "MEAN>", "95 %>", "LONGEST>", "PEAK MEMORY>"),
        [
            (
                f"{row.hour:%Y-%m-%d %H}:00",
                row.kind,
                row.attempts,
                row.done,
                row.failed,
                f"{row.failure_rate:.1%}",
                duration(row.mean_ms / 1000),
                duration(row.p95_ms / 1000),
                duration(row.longest_ms / 1000),
                "" if row.peak_memory_kb is None else f"{row.peak_memory_kb // 1024} MiB",
            )
            for row in rows
        ],
        ["yellow" if row.failure_rate >= 0.2 else "" for row in rows],
    )
    output.say(f"as of {duration(age_s)} ago" if rows else f"no attempt in the last {options.hours} hours")
    return exits.OK
