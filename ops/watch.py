"""``ops runs watch RUN``: follow a run to its end, with a bar on a terminal, lines in a pipe, or JSON lines."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from rich.progress import BarColumn, Progress, TextColumn

from ops import exits
from ops.output import Output, duration, error_line, moment, plain
from ops.pace import Look, Pace
from ops.parsers import Commands, seconds
from runstate import queries, runs
from runstate.errors import DatabaseUnavailable
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients

LINE_EVERY_S = 1.0
"""In a pipe, a line a second is enough while only counters move."""


def add(group: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``runs watch``."""
    parser = group.add_parser("watch", parents=[common], help="follow a run to its end; exit 0 only if it completed")
    parser.add_argument("run_id", metavar="RUN", help="a run id, or an unambiguous beginning of one")
    parser.add_argument(
        "--interval", type=seconds, default=0.5, metavar="S", help="look every S seconds (default %(default)s)"
    )
    parser.add_argument("--timeout", type=seconds, metavar="S", help="give up after S seconds, with exit code 1")
    parser.set_defaults(run=watch)


def watch(options: argparse.Namespace, output: Output) -> int:
    """Follow a run; 0 once it is completed, 1 if it ends otherwise or the time is up."""
    run_id = in_transaction(clients.engine(), lambda c: queries.resolve_run_id(c, options.run_id))
    give_up_at = None if options.timeout is None else time.monotonic() + options.timeout
    display = _display(output)
    pace = Pace()
    status = RunStatus.REQUESTED
    try:
        for look in looks(run_id, options.interval, give_up_at):
            pace.add(look)
            display.show(look, pace)
            status = look.run.status
            if look.run.ended:
                return exits.OK if status is RunStatus.COMPLETED else exits.TROUBLE
    finally:
        display.close()
    error_line(f"run {run_id} is still {status.value} after {options.timeout:g} s; it goes on")
    return exits.TROUBLE


def looks(run_id: str, interval_s: float, give_up_at: float | None) -> Iterator[Look]:
    """The run as it moves, for ever or until ``give_up_at`` (`time.monotonic`); waits while MySQL is away."""
    away = False
    while True:
        began = time.monotonic()
        try:
            run, rows = in_transaction(
                clients.engine(), lambda c: (runs.get(c, run_id), queries.rows_recorded(c, run_id))
            )
            away = False
            # Summing up the rows of a large run takes a while: never more than a tenth of the server's time.
            pause_s = max(interval_s, 9 * (time.monotonic() - began))
            yield Look(began, run, rows)
        except DatabaseUnavailable as error:
            if not away:
                error_line(f"{error}; still watching")
            away, pause_s = True, interval_s
        if give_up_at is not None and time.monotonic() + pause_s > give_up_at:
            return
        time.sleep(pause_s)


class Display(Protocol):
    """A way of showing a run that moves."""

    def show(self, look: Look, pace: Pace) -> None:
        """Show how it stands now."""

    def close(self) -> None:
        """Leave the output in order."""


def _display(output: Output) -> Display:
    if output.as_json:
        return _JsonLines(output)
    return _Bar(output) if output.console.is_terminal else _Lines(output)


@dataclass
class _JsonLines:
    """One object a line, whenever something changed."""

    output: Output
    shown: object = None

    def show(self, look: Look, pace: Pace) -> None:
        run = look.run
        state = {
            "run_id": run.run_id,
            "status": run.status,
            "jobs_total": run.jobs_total,
            "jobs_done": run.jobs_done,
            "jobs_dead": run.jobs_dead,
            "jobs_cancelled": run.jobs_cancelled,
            "rows": look.rows,
            "reason": run.reason,
            "result": run.result,
        }
        if state != self.shown:
            self.shown = state
            rates = {"jobs_per_s": pace.jobs_per_s, "rows_per_s": pace.rows_per_s, "eta_s": pace.eta_s}
            self.output.json_line({"at": run.seen_at, **state, **rates})

    def close(self) -> None:
        pass


@dataclass
class _Lines:
    """A line whenever the status changed, and at most one a second while it is only the counters."""

    output: Output
    shown: tuple[object, ...] = ()
    shown_at: float = 0.0

    def show(self, look: Look, pace: Pace) -> None:
        run = look.run
        now = (run.status, run.jobs_total, look.jobs_ended, look.rows)
        if now == self.shown or (now[:1] == self.shown[:1] and look.at - self.shown_at < LINE_EVERY_S):
            return
        self.shown, self.shown_at = now, look.at
        self.output.say(f"{moment(run.seen_at)} {sentence(look, pace)}")

    def close(self) -> None:
        pass


class _Bar:
    """A bar that fills up."""

    def __init__(self, output: Output) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
        )
        self._progress = Progress(*columns, console=output.console)
        self._bar = self._progress.add_task("", total=None, said="")
        self._progress.start()

    def show(self, look: Look, pace: Pace) -> None:
        run = look.run
        # Without a total the bar pulses: nobody knows yet how much it will be.
        known = run.ended or (run.jobs_total > 0 and run.status not in (RunStatus.REQUESTED, RunStatus.PLANNING))
        self._progress.update(
            self._bar,
            description=f"{run.kind} {run.run_id[:8]}",
            total=max(1, run.jobs_total) if known else None,
            completed=look.jobs_ended if run.jobs_total or not run.ended else 1,
            said=plain(sentence(look, pace)),
        )

    def close(self) -> None:
        self._progress.stop()


def sentence(look: Look, pace: Pace) -> str:
    """How the run stands, in a line."""
    run = look.run
    parts = [run.status.value, f"{look.jobs_ended}/{run.jobs_total} jobs"]
    if run.jobs_dead:
        parts.append(f"{run.jobs_dead} dead")
    if look.rows is not None:
        parts.append(f"{look.rows:,} rows")
    if pace.rows_per_s is not None:
        parts.append(f"{pace.rows_per_s:,.0f} rows/s")
    elif pace.jobs_per_s is not None:
        parts.append(f"{pace.jobs_per_s:.1f} jobs/s")
    if pace.eta_s is not None:
        parts.append(f"{duration(pace.eta_s)} left")
    if run.ended and run.started_at is not None and run.finished_at is not None:
        parts.append(f"took {duration((run.finished_at - run.started_at).total_seconds())}")
    if run.reason:
        parts.append(run.reason)
    return " · ".join(parts)
