"""How a claim can end: the closed set, and what is known of an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from runstate.claims import Claim
from runstate.statuses import RunStatus


class Ending(StrEnum):
    """How a claim can end: the closed set."""

    DONE = "done"
    """The effects are in, the job is done."""
    RETRY = "retry"
    """Failed for now: an attempt is used, it comes back at its ``due_at``."""
    SNOOZE = "snooze"
    """Not now: no attempt used."""
    DEAD = "dead"
    """Given up: a dead letter is written."""
    STOPPED = "stopped"
    """A pause stopped it: no attempt, no crash."""
    CANCELLED = "cancelled"
    """Its run was ended while it ran."""
    CRASHED = "crashed"
    """Its process died while its node lived: a crash is counted."""
    LOST = "lost"
    """Its node was lost: counted apart."""


class FurtherJob(NamedTuple):
    """A job that another one asks for: its payload as JSON text, due ``delay_s`` seconds after the record."""

    payload: str
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claim, as `record` stores it.

    ``delay_s``    for retry and snooze: when it is due again, counted from the database's now
    ``effects``    for done: run inside the record; what it returns is merged into ``result``
    ``fail_run``   the run fails with this reason in the same transaction; ``pause_run`` likewise, by ``system``
    """

    ending: Ending
    result: Mapping[str, Any] | None = None
    effects: Callable[[Connection], Mapping[str, Any] | None] | None = None
    delay_s: float = 0.0
    error_class: str | None = None
    error: str | None = None
    traceback: str | None = None
    fail_run: str | None = None
    pause_run: str | None = None
    jobs_total: int | None = None
    """Set by planning alone: how many work jobs the plan has."""
    further: Sequence[FurtherJob] = ()
    """For done: jobs that this one asks for besides (the next page, deferred recipients)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an attempt cost."""

    duration_ms: int = 0
    peak_memory_kb: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What to do after the commit: publish ``next_jobs``, go on with ``next_claim``.

    ``status`` is the run's, ``result`` the job's.
    """

    status: RunStatus
    next_jobs: list[int]
    result: Mapping[str, Any] | None = None
    next_claim: Claim | None = None
