"""The demo: ``make demo``, or ``python -m examples.demo`` beside a running stack.

It makes a sample file and its table if they are missing, starts an import as any producer would, tries a second start while
the first is active, follows the run to its end, and says what happened.  Exit code 0 only if all of it went as promised.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text
from sqlalchemy import select, text

from examples.catalogue import CREATE_TABLE, KEY, ROWS, TABLE, bad_rows, write_catalogue
from runstate import jobs
from runstate.runs import Run
from runstate.statuses import RunStatus
from tasks import admit, clients, start_import
from tasks.errors import RunRefused, TasksError
from tasks.imports.rejects import import_rejects
from tasks.result import StartResult
from tasks.settings import read_env_file, settings

FILE = "demo-catalogue.csv"
CHUNK_BYTES = 256 * 1024
"""Far below the default, so that a small file makes enough jobs to watch."""
PATIENCE_S = 180.0
POLL_S = 0.1
SHOWN_REJECTS = 5


class DemoFailed(Exception):
    """The demo did not go as promised; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the run: its row, and how many rows of the file are recorded."""

    run: Run
    rows: int


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    try:
        _demo(console)
    except (DemoFailed, TasksError) as error:
        console.print(f"demo: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("The run goes on without this window: python -m ops runs list", markup=False)
        return 130
    return 0


def _demo(console: Console) -> None:
    began = time.monotonic()
    source = _prepare(console)
    args = {"source": str(source), "target": TABLE, "key": KEY, "chunk_bytes": CHUNK_BYTES}
    first = start_import.delay(**args)
    _say(console, "start", f"start_import.delay(…, target={TABLE!r}, key={KEY}) → run {first.run_id}")
    _wait_for_admission(first)
    _say(console, "again", _start_again(first, args))
    seen = _follow(console, first)
    _check(seen.run)
    _report(console, seen.run, time.monotonic() - began)


def _prepare(console: Console) -> Path:
    with clients.engine().begin() as connection:
        connection.execute(text(CREATE_TABLE))
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_catalogue(folder / FILE)
    except OSError as error:
        raise DemoFailed(f"the sample file cannot be written: {error}; IMPORT_ROOTS says where it may lie") from error
    size_mb = (folder / FILE).stat().st_size / 1e6
    _say(console, "file", f"{folder / FILE}: {ROWS + len(bad_rows()):,} rows, {size_mb:.1f} MB")
    return folder / FILE


def _folder() -> Path:
    """The first import root that this user may write to, or the first of all."""
    roots = settings().import_roots
    return next((root for root in roots if os.access(root, os.W_OK)), roots[0])


def _wait_for_admission(started: StartResult) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while started.run().status is RunStatus.REQUESTED:
        if time.monotonic() > give_up_at:
            raise DemoFailed(f"nobody has admitted run {started.run_id}: does a control worker run? make status")
        time.sleep(POLL_S / 10)
    if started.run().status is RunStatus.REFUSED:
        raise DemoFailed(f"the start was refused: {started.run().reason}")


def _start_again(first: StartResult, args: dict[str, object]) -> str:
    """Start the same import while the first is active: it must be refused, and the refusal must name the first."""
    try:
        second = admit("import", **args)
    except RunRefused as refused:
        if refused.active_run_id != first.run_id:
            raise DemoFailed(f"the refusal names run {refused.active_run_id}, not {first.run_id}") from refused
        return f"a second start was refused: {refused.reason}"
    if first.run().finished_at is None:
        raise DemoFailed(f"run {second.run_id} was admitted while run {first.run_id} was active")
    second.get(timeout=PATIENCE_S)
    return f"the first run had ended already, so a second one was admitted: {second.run_id}"


def _looks(started: StartResult) -> Iterator[Seen]:
    """The run as it moves, up to and with its end."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        run = started.run()
        with clients.engine().connect() as connection:
            rows = sum(result.get("rows", 0) for result in jobs.results(connection, run.run_id))
        yield Seen(run, rows)
        if run.ended:
            return
        if time.monotonic() > give_up_at:
            raise DemoFailed(
                f"run {run.run_id} is still {run.status} after {PATIENCE_S:.0f} s: python -m ops runs show {run.run_id}"
            )
        time.sleep(POLL_S)


def _follow(console: Console, started: StartResult) -> Seen:
    """Show the run's progress until it ends; the last look."""
    return _bar(console, _looks(started)) if console.is_terminal else _lines(console, _looks(started))


def _bar(console: Console, looks: Iterator[Seen]) -> Seen:
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        _Counts(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("import", total=ROWS + len(bad_rows()), jobs="starting")
        for seen in looks:
            progress.update(task, completed=seen.rows, jobs=_jobs(seen.run))
    return seen


class _Counts(ProgressColumn):
    def get_table_column(self) -> Column:
        return Column(no_wrap=True)

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        rate = f" · {speed:,.0f} rows/s" if speed else ""
        return Text(f"{task.completed:,.0f} rows · {task.fields['jobs']}{rate}")


def _lines(console: Console, looks: Iterator[Seen]) -> Seen:
    shown = -1
    for seen in looks:
        if seen.rows != shown:
            shown = seen.rows
            _say(console, "import", f"{seen.rows:,} rows · {_jobs(seen.run)}")
    return seen


def _jobs(run: Run) -> str:
    return f"{run.jobs_total - run.jobs_open}/{run.jobs_total} jobs" if run.jobs_total else "planning"


def _check(run: Run) -> None:
    if run.status is not RunStatus.COMPLETED:
        raise DemoFailed(f"run {run.run_id} is {run.status}: {run.reason}")
    counts = run.result or {}
    written = sum(counts.get(name, 0) for name in ("inserted", "updated", "unchanged"))
    if (written, counts.get("rejected")) != (ROWS, len(bad_rows())):
        raise DemoFailed(f"{ROWS} good rows and {len(bad_rows())} bad ones became {dict(counts)}")


def _report(console: Console, run: Run, took_s: float) -> None:
    counts = run.result or {}
    assert run.started_at is not None and run.finished_at is not None
    run_s = (run.finished_at - run.started_at).total_seconds()
    console.print(f"\nRun {run.run_id} is completed, {run_s:.1f} s after its admission:", markup=False)
    for name in ("inserted", "updated", "unchanged", "rejected"):
        console.print(f"  {counts[name]:>7,} {name}", markup=False)
    if counts["unchanged"] == ROWS:
        console.print("  The file was imported before, so nothing changed.", markup=False)
    console.print("\nThe first rejects:", markup=False)
    table = import_rejects.c
    query = select(table.line_no, table.column_name, table.code, table.reason).where(table.run_id == run.run_id)
    with clients.engine().connect() as connection:
        for row in connection.execute(query.order_by(table.job_no, table.line_no).limit(SHOWN_REJECTS)):
            where = f"line {row.line_no:,}" + (f", {row.column_name}" if row.column_name else "")
            console.print(f"  {where}: {row.code}, {row.reason}", markup=False)
    _say_what_next(console, run)
    console.print(f"\nThe demo took {took_s:.1f} s.", markup=False)


def _say_what_next(console: Console, run: Run) -> None:
    env_file = settings().var / "stack.env"
    values = {**read_env_file(env_file), **os.environ}
    if values.get("FLOWER_URL"):
        console.print(
            f"\nFlower: {values['FLOWER_URL']}, user {values.get('FLOWER_USER')}; its password is FLOWER_PASSWORD in "
            f"{_short(env_file)} (mode {env_file.stat().st_mode & 0o777:04o})",
            markup=False,
        )
    python = _short(Path(sys.executable))
    console.print("\nTry next:", markup=False)
    for command in (f"runs show {run.run_id}", f"rejects export {run.run_id}", "health"):
        console.print(f"  {python} -m ops {command}", markup=False)


def _short(path: Path) -> str:
    """The path as it is typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(console: Console, what: str, sentence: str) -> None:
    console.print(f"  {what:7} {sentence}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
