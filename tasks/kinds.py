"""A kind of job: a frozen value with two functions, checked when it is declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine

if TYPE_CHECKING:
    from tasks.report import Report, RunSeen

Json = Any
Args = Mapping[str, Json]
Effects = Callable[[Connection], Mapping[str, Json] | None]
Plan = Callable[[Args], Iterable[Json] | Generator[Json, None, Mapping[str, Json] | None]]

MAX_ARGS_BYTES = 64 * 1024
MAX_WINDOW = 1000
MAX_SLICE_S = 30.0
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")


class Work(Protocol):
    """What ``perform`` gets: the job, and the few things it may ask of the machinery."""

    run_id: str
    job_no: int
    fence: int
    args: Args
    """The run's arguments, as the kind's ``arguments`` normalised them."""
    payload: Json
    """What ``plan`` yielded for this job (an operator's edit included)."""
    attempt: int
    """1 for the first attempt."""

    @property
    def plan(self) -> Mapping[str, Json]:
        """What the plan's generator returned; ``{}`` if it returned nothing."""

    @property
    def engine(self) -> Engine:
        """This process' engine, for reads outside any record."""

    def stop_if_asked(self) -> None:
        """Raise `WorkStopped` if the run was paused, cancelled, recovered, or the lease was lost. Cheap: call it often."""

    def goes_on(self) -> bool:
        """Whether this process would go on with the run's next due job if this one ended now: a hint, for what is worth
        preparing here for that job.
        """

    def on_record(self, effects: Effects) -> None:
        """Have ``effects(connection)`` run inside the record transaction, exactly once as far as MySQL can see.

        It may run several times (a deadlock redoes the whole transaction), so it must depend on nothing but the connection
        and what was computed before.  What it returns is merged into the job's result.
        """

    def checkpoint(self, fn: Callable[[Connection], Any]) -> Any:
        """Run ``fn`` in a transaction of its own that commits only while the claim and the run's fence hold.

        Like effects, ``fn`` may run several times.  Raises `WorkStopped` where they do not hold.
        """

    def add_job(self, payload: Json, *, due_in_s: float = 0.0) -> None:
        """Ask for a further job of this run (the next page, what was deferred), due ``due_in_s`` seconds after the record.

        It is written in this job's record, if the job ends done, and numbered after all others.  Only work jobs may ask.
        Raises `Permanent` for a payload that is no JSON or has more than 64 KiB of it.
        """

    def job_results(self) -> Iterator[dict[str, Any]]:
        """The results of this run's done work jobs, streamed in order of job number (for ``finish``)."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: uniform between 0 and ``min(cap_s, base_s * 2**(attempt-1))``."""

    max_attempts: int = 5
    base_s: float = 2.0
    cap_s: float = 600.0

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(
                f"Backoff(max_attempts={self.max_attempts}): at least 1, the first try counts as an attempt"
            )
        if not 0 <= self.base_s <= self.cap_s:
            raise ValueError(
                f"Backoff(base_s={self.base_s}, cap_s={self.cap_s}): give 0 <= base_s <= cap_s, in seconds"
            )


class OldRows(Protocol):
    """What retention forgets of one table: `runstate.old_rows.OfRuns`, with their run, or `Aged`, by their age alone."""

    @property
    def table(self) -> str:
        """Its name."""


def _no_key(_args: Args) -> str | None:
    return None


def _as_given(**kwargs: Json) -> dict[str, Json]:
    return kwargs


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job.  See the README, "Adding a kind", for an example that runs.

    ``name``            stable string; also the Celery task name that its jobs carry in Flower
    ``queue``           the Celery queue of its pool
    ``plan``            ``(args) -> iterable of JSON payloads``, one a job, streamed; a generator may *return* a dict (`Work.plan`)
    ``perform``         ``(work) -> result dict``
    ``arguments``       ``(*args, **kwargs) -> dict``: checks and normalises a start's arguments; raises `BadArguments`
    ``admission_key``   ``(args) -> str | None``; None: no exclusivity
    ``finish``          ``(work) -> result dict``: once, after the last job, as a job of its own; its dict is the run's result
    ``describe_start``  ``(args) -> str``: how operators see a start; ``describe_job``: ``(args, payload) -> str``
    ``start_name``      the name of the start task where it is not ``start_<name>``
    ``spooled``         list arguments that may be longer than 64 KiB of JSON: they are stored aside then, and ``plan`` sees a
                        sequence in their place that streams (`tasks.spool.SpooledList`)
    ``forget``          ``(connection, run_ids, most) -> int``: retention; deletes up to ``most`` rows of the kind's own tables that
                        belong to these runs, returns how many
    ``old_rows``        retention, told instead of done: `OldRows` of the kind's own tables
    ``report``          ``(connection, seen) -> Report``: what operators see of a run besides its jobs; see `tasks.report`
    ``window``          how many jobs of one run may be out as messages at once
    ``lease_s``         how long a claim lasts without being renewed
    ``timeout_s``       how long one try of a job may take
    ``max_crashes``     lost claims after which a job is a dead letter
    ``stale_after_s``   how long due work may stand still before the run counts as stale
    ``slice_s``         how long a worker goes on with due jobs of one run before it looks at its queue again
    """

    name: str
    queue: str
    plan: Plan
    perform: Callable[[Work], Mapping[str, Json] | None]
    arguments: Callable[..., dict[str, Json]] = _as_given
    admission_key: Callable[[Args], str | None] | None = None
    finish: Callable[[Work], Mapping[str, Json] | None] | None = None
    describe_start: Callable[[Args], str] | None = None
    describe_job: Callable[[Args, Json], str] | None = None
    forget: Callable[[Connection, Sequence[str], int], int] | None = None
    old_rows: tuple[OldRows, ...] = ()
    report: Callable[[Connection, RunSeen], Report] | None = None
    start_name: str = ""
    spooled: tuple[str, ...] = ()
    backoff: Backoff = field(default_factory=Backoff)
    window: int = 32
    lease_s: int = 15
    timeout_s: int = 900
    max_crashes: int = 3
    stale_after_s: int = 300
    slice_s: float = 1.0

    def __post_init__(self) -> None:
        for label, value in (("name", self.name), ("queue", self.queue), ("start_name", self.starts_as)):
            if not _NAME.match(value):
                raise ValueError(
                    f"JobKind({label}={value!r}): lower-case letters, digits and _, starting with a letter, at most 40"
                )
        for label, function in (("plan", self.plan), ("perform", self.perform)):
            if not callable(function):
                raise TypeError(
                    f"JobKind({self.name!r}): {label} must be a function, for example\n"
                    "    def plan(args): yield from ({'page': n} for n in range(args['pages']))\n"
                    "    def perform(work): return {'page': work.payload['page']}"
                )
        if not 1 <= self.window <= MAX_WINDOW:
            raise ValueError(f"JobKind({self.name!r}, window={self.window}): between 1 and {MAX_WINDOW} jobs")
        if self.lease_s < 3:
            raise ValueError(
                f"JobKind({self.name!r}, lease_s={self.lease_s}): at least 3 s, a claim is renewed at a third of it"
            )
        if self.timeout_s < 1 or self.max_crashes < 1 or self.stale_after_s < 1:
            raise ValueError(f"JobKind({self.name!r}): timeout_s, max_crashes and stale_after_s start at 1")
        if not 0 <= self.slice_s <= MAX_SLICE_S:
            raise ValueError(
                f"JobKind({self.name!r}, slice_s={self.slice_s}): from 0 to {MAX_SLICE_S:.0f} s, for other runs wait meanwhile"
            )

    @property
    def starts_as(self) -> str:
        """The name of the start task."""
        return self.start_name or f"start_{self.name}"

    def key_of(self, args: Args) -> str | None:
        """The admission key of a start with these arguments, or None where the kind has no exclusivity."""
        return (self.admission_key or _no_key)(args)
