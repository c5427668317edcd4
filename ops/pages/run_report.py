"""A kind's own report of a run: rows and rejects of an import, recipients of a campaign, both sides of a sync."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from ops.pages.reading import asked
from runstate import run_course, runs
from runstate.errors import RunstateError
from runstate.runs import Run
from tasks.registry import kinds
from tasks.report import Report, RunSeen

log = logging.getLogger("holdfast.pages")


@dataclass(frozen=True, slots=True)
class Told:
    """What the kind said; ``report`` is None where it has nothing to say, ``error`` why it could not."""

    report: Report | None
    error: str = ""


def _so_far(run: Run) -> dict[str, Any]:
    """The sums of a run that goes on; of one with very many jobs none, they would all have to be read again and again."""
    return asked(lambda c: run_course.sums(c, run.run_id))() if run.jobs_done <= run_course.MOST_SUMMED else {}


def read_report(run_id: str) -> Told:
    """Ask the kind of the run.  Raises `DatabaseUnavailable`, `NotFound`."""
    run = asked(lambda c: runs.get(c, run_id))()
    kind = kinds().get(run.kind)
    ask = None if kind is None else kind.report
    if ask is None or run.started_at is None:
        return Told(None)
    totals = run.result if run.ended and run.result is not None else _so_far(run)
    try:
        return Told(asked(lambda c: ask(c, RunSeen(run_id, run.args, run.ended, totals)))())
    except RunstateError:
        raise
    except Exception as error:
        # A kind's own code, with arguments that may have come by name, unchecked: the run must be seen all the same.
        log.exception("the report of %s on run %s failed", run.kind, run_id)
        return Told(None, f"{run.kind} could not report on this run: {type(error).__name__}: {str(error)[:300]}")
