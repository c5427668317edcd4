"""What a start hands back: an `AsyncResult` that reads the run's row."""

from __future__ import annotations

import time
from typing import Any

from celery import states
from celery.exceptions import TimeoutError as CeleryTimeout
from celery.result import AsyncResult

from runstate import runs
from runstate.audit import Actor
from runstate.runs import Run
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.errors import RunRefused, TasksError

_CELERY_STATES = {
    RunStatus.REQUESTED: states.PENDING,
    RunStatus.REFUSED: states.REJECTED,
    RunStatus.COMPLETED: states.SUCCESS,
    RunStatus.FAILED: states.FAILURE,
    RunStatus.CANCELLED: states.REVOKED,
}


class RunFailed(TasksError):
    """`StartResult.get`: the run ended ``failed`` or ``cancelled``; ``run`` is its last snapshot."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"run {run.run_id} is {run.status.value}: {run.reason or 'no reason given'}")
        self.run = run


class StartResult(AsyncResult):  # type: ignore[misc]
    """The run that a start stands for; its ``id`` is the run id, and every answer comes from MySQL.

    ``status``/``state`` are Celery's words: PENDING (requested), STARTED (active), SUCCESS, FAILURE, REVOKED (cancelled),
    REJECTED (refused); `run()` has Holdfast's.
    """

    @property
    def run_id(self) -> str:
        """The run's id, which is this result's id."""
        return str(self.id)

    def run(self) -> Run:
        """A fresh snapshot of the run.  Raises `runstate.errors.NotFound`, `DatabaseUnavailable`."""
        return in_transaction(clients.engine(), lambda c: runs.get(c, self.run_id))

    @property
    def state(self) -> str:
        return str(_CELERY_STATES.get(self.run().status, states.STARTED))

    status = state

    def ready(self) -> bool:
        """Whether the run has ended."""
        return self.run().ended

    def successful(self) -> bool:
        """Whether the run ended ``completed``."""
        return self.run().status is RunStatus.COMPLETED

    def failed(self) -> bool:
        """Whether the run ended ``failed``."""
        return self.run().status is RunStatus.FAILED

    def get(self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5, **_: Any) -> Any:
        """Wait for the end of the run and return its result dict.

        ``timeout`` and ``interval`` are seconds.  Raises `RunRefused`, `RunFailed` (unless ``propagate=False``), and
        `celery.exceptions.TimeoutError`.
        """
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while True:
            run = self.run()
            if run.ended:
                break
            if give_up_at is not None and time.monotonic() >= give_up_at:
                raise CeleryTimeout(f"run {run.run_id} is still {run.status.value} after {timeout} s")
            time.sleep(interval)
        if propagate and run.status is RunStatus.REFUSED:
            raise RunRefused(
                run.reason or "refused", run_id=run.run_id, active_run_id=run.refused_by or "", reason=run.reason or ""
            )
        if propagate and run.status is not RunStatus.COMPLETED:
            raise RunFailed(run)
        return dict(run.result or {})

    wait = get

    def revoke(self, *_: Any, actor: Actor | None = None, **__: Any) -> None:
        """Cancel the run; ``actor`` says who and why.  Raises `runstate.control.NotAllowed` if it has ended."""
        control.cancel(self.run_id, actor or Actor(clients.who(), "StartResult.revoke"))

    @property
    def result(self) -> Any:
        run = self.run()
        return run.result if run.status is RunStatus.COMPLETED else run.reason

    info = result
