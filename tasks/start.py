"""The front door: ``start_import.delay(…)`` writes a row in MySQL, then sends a message."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Task
from celery.exceptions import Retry as CeleryRetry
from sqlalchemy import Connection

from runstate import runs
from runstate.errors import NotFound
from runstate.outcomes import Ending
from runstate.runs import Run
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, metrics_sink
from tasks.admission import admit_run
from tasks.celery import app
from tasks.describe import about_start
from tasks.envelope import Performed, run_jobs
from tasks.errors import BadArguments, RunRefused
from tasks.kinds import JobKind
from tasks.publish import publish_start
from tasks.requests import checked_run_id, insert_or_find, make_request, write_request
from tasks.result import StartResult

log = logging.getLogger("holdfast.start")

_CANVAS_OPTIONS = ("link", "link_error", "chain", "group_id", "group_index", "root_id", "parent_id")
HARD_LIMIT_GRACE_S = 30


class StartTask(Task):  # type: ignore[misc]
    """A start: what Celery calls a task and Holdfast calls the request for a run."""

    abstract = True
    Request = "tasks.revoke:StartRequest"
    kind: JobKind

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        eta: datetime | None = None,
        countdown: float | None = None,
        **options: Any,
    ) -> StartResult:
        """Write the start down, then send its message; a broker that is down delays the run and fails nothing.

        ``eta`` (aware) and ``countdown`` (seconds) become the row's ``not_before``.  Raises `BadArguments`,
        `IdempotencyConflict`, and `DatabaseDown` within 3 s.
        """
        if options.get("chord"):
            raise BadArguments(
                f"{self.name} cannot be the header of a chord: a chord waits for results in a backend, and a run is longer than "
                "its start. Let the kind's finish start what comes next"
            )
        if countdown is not None:
            eta = datetime.now(UTC) + timedelta(seconds=countdown)
        if eta is not None and eta.tzinfo is None:
            raise BadArguments(
                f"{self.name}: eta needs a time zone, for example datetime.now(UTC) + timedelta(hours=1)"
            )
        canvas = {name: options[name] for name in _CANVAS_OPTIONS if options.get(name)}
        request = make_request(self.kind, args or (), kwargs or {}, run_id=task_id, not_before=eta, canvas=canvas)
        run = write_request(request)
        if run.status is RunStatus.REQUESTED and not (run.not_before and run.not_before > run.seen_at):
            publish_start(self.kind.name, run.run_id, about=_about(self.kind, run), canvas=canvas)
        return StartResult(run.run_id, app=app)

    def enqueue(self, connection: Connection, *args: Any, **kwargs: Any) -> StartResult:
        """Write the start in the caller's own transaction: rolled back with it, published after it by the dispatcher.

        ``connection`` must be to Holdfast's database (`Session.connection()` serves).  Raises `BadArguments`,
        `IdempotencyConflict`.
        """
        run = insert_or_find(connection, make_request(self.kind, args, kwargs), message_follows=False)
        return StartResult(run.run_id, app=app)

    def run(self, *args: Any, **kwargs: Any) -> str:
        """Admission, in a worker of the control queue; returns the run id, or says why it was refused."""
        run_id = checked_run_id(self.request.id or "")
        try:
            admitted = admit_run(self.kind, run_id)
        except NotFound:
            admitted = None
            requested = self._write_down(run_id, args, kwargs)
            if requested is not None:
                return requested
        admitted = admitted or admit_run(self.kind, run_id)
        metrics_sink.tell()
        if not admitted.fresh or admitted.run.status is RunStatus.REFUSED:
            # What was to follow has followed the first delivery, and nothing follows a refusal.
            self.request.update(callbacks=None, chain=None)
        if admitted.run.status is RunStatus.REFUSED:
            log.info("run %s refused: %s", run_id, admitted.run.reason)
            return f"refused: {admitted.run.reason}"
        return run_id

    def _write_down(self, run_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """A start sent by name, from a code base without ours: it is covered from here on."""
        try:
            write_request(make_request(self.kind, args, kwargs, run_id=run_id, requested_by="send_task"))
        except BadArguments as error:
            log.warning("start %s, sent by name, cannot be taken: %s", run_id, error)
            self.request.update(callbacks=None, chain=None)
            return f"failed: {error}"
        return None


def start_task(kind: JobKind) -> StartTask:
    """Register a kind with Celery: its start task ``start_<name>``, which is returned, and the task its jobs carry.

    For example ``start_webhooks = start_task(deliver_webhooks)``, then ``start_webhooks.delay(endpoint_id="e1")``.
    """
    name = kind.starts_as
    if name not in app.tasks:
        app.register_task(type(f"Start_{kind.name}", (StartTask,), {"name": name, "kind": kind, "abstract": False})())
        _register_job(kind)
    start: StartTask = app.tasks[name]
    return start


def _register_job(kind: JobKind) -> None:
    @app.task(  # type: ignore[untyped-decorator]
        name=kind.name,
        bind=True,
        # The soft limit ends an attempt with an error; the hard one, in the parent, ends a child that does not hear it.
        soft_time_limit=kind.timeout_s + kind.slice_s,
        time_limit=kind.timeout_s + kind.slice_s + HARD_LIMIT_GRACE_S,
    )
    def job(self: Any, run_id: str, job_no: int) -> Any:
        try:
            return _answer(run_jobs(kind, run_id, job_no, worker=self.request.hostname or clients.who()))
        finally:
            metrics_sink.tell()


def _answer(performed: list[Performed]) -> Any:
    """What Flower shows of a message: the last job's outcome, and how many there were."""
    if not performed:
        return "nothing to do: the message was late or a duplicate"
    last = performed[-1]
    outcome = last.outcome
    before = f"{len(performed) - 1} jobs done before, then job {last.claim.job_no}: " if len(performed) > 1 else ""
    if outcome is None:
        return f"{before}stopped, nothing recorded"
    if outcome.ending in (Ending.RETRY, Ending.SNOOZE):
        # Flower shows RETRY; nothing is published by this: due_at in MySQL says when it comes back.
        raise CeleryRetry(message=f"{before}{outcome.error or outcome.ending.value}", exc=None, when=outcome.delay_s)
    if outcome.ending is not Ending.DONE:
        return f"{before}{outcome.ending.value}: {outcome.error or ''}"
    result = dict(last.recorded.result or {}) if last.recorded else {}
    return {"jobs": len(performed), "last": result} if before else result


def start_many(start: StartTask, calls: Iterable[Mapping[str, Any]]) -> list[StartResult]:
    """Make many starts of one kind, all recorded in one transaction, then published.

    ``calls``  one dict of keyword arguments a start.  Raises as `StartTask.apply_async`; then none was recorded.
    """
    requests = [make_request(start.kind, (), call) for call in calls]

    def steps(connection: Connection) -> list[Run]:
        return [insert_or_find(connection, request, message_follows=True) for request in requests]

    def committed(connection: Connection) -> list[Run] | None:
        found = [runs.find(connection, request.run_id) for request in requests]
        return [run for run in found if run is not None] if all(found) else None

    recorded = in_transaction(clients.engine(), steps, committed=committed)
    for run in recorded:
        if run.status is RunStatus.REQUESTED and not publish_start(
            start.kind.name, run.run_id, about=_about(start.kind, run)
        ):
            break
    return [StartResult(run.run_id, app=app) for run in recorded]


def admit(kind: JobKind | str, /, **kwargs: Any) -> StartResult:
    """Start and admit at once, in this process: for a web handler that wants to answer 409.

    Raises `RunRefused` with ``active_run_id``, `BadArguments`, `DatabaseDown`.
    """
    from tasks.registry import kind_named

    kind = kind_named(kind) if isinstance(kind, str) else kind
    run = write_request(make_request(kind, (), kwargs))
    run = admit_run(kind, run.run_id).run
    if run.status is RunStatus.REFUSED:
        raise RunRefused(
            run.reason or "refused", run_id=run.run_id, active_run_id=run.refused_by or "", reason=run.reason or ""
        )
    return StartResult(run.run_id, app=app)


def _about(kind: JobKind, run: Run) -> str:
    return about_start(kind, run.run_id, run.args) or repr(dict(run.args))[:200]
