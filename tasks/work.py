"""What ``perform`` gets in its hands: `tasks.kinds.Work`, made of a claim that is being kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Engine

from runstate import documents, jobs, leases
from runstate.errors import Fenced
from runstate.outcomes import FurtherJob
from runstate.statuses import Role
from runstate.transaction import in_transaction
from tasks import clients, failpoints
from tasks.errors import Permanent, WorkStopped
from tasks.kinds import MAX_ARGS_BYTES, Effects
from tasks.lease import Kept
from tasks.spool import with_lists


def payload_text(payload: Any, what: str) -> str:
    """A job's payload as it stands in its row; raises `Permanent`, naming ``what``, if it is no JSON or too long."""
    try:
        text = documents.dump(payload)
    except (TypeError, ValueError) as error:
        raise Permanent(f"{what}: its payload is not JSON: {error}") from error
    size = len(text.encode())
    if size > MAX_ARGS_BYTES:
        raise Permanent(
            f"{what}: its payload has {size} bytes of JSON, at most {MAX_ARGS_BYTES} fit; let it say where the data lies"
        )
    return text


class ClaimedWork:
    """One claim's view of the machinery."""

    def __init__(self, kept: Kept, *, goes_on_until: float = 0.0) -> None:
        claim = kept.claim
        self._kept = kept
        self._goes_on_until = goes_on_until
        self.claim = claim
        self._effects: list[Effects] = []
        self._plan: Mapping[str, Any] | None = None
        self.run_id = claim.run_id
        self.job_no = claim.job_no
        self.fence = claim.fence
        self.args = with_lists(claim.args, claim.run_id)
        self._further: list[FurtherJob] = []
        self.payload = claim.payload
        self.attempt = claim.attempts + 1

    @property
    def engine(self) -> Engine:
        return clients.engine()

    @property
    def plan(self) -> Mapping[str, Any]:
        if self._plan is None:
            self._plan = _plan_of(self.run_id)
        return self._plan

    def stop_if_asked(self) -> None:
        self._kept.stop_if_asked()

    def goes_on(self) -> bool:
        return time.monotonic() < self._goes_on_until

    def on_record(self, effects: Effects) -> None:
        self._effects.append(effects)

    def add_job(self, payload: Any, *, due_in_s: float = 0.0) -> None:
        if self.claim.role is not Role.WORK:
            raise RuntimeError("only work jobs ask for further jobs: a plan yields its own, and finish is the last")
        self._further.append(FurtherJob(payload_text(payload, "a further job"), due_in_s))

    @property
    def further(self) -> tuple[FurtherJob, ...]:
        """The jobs asked for, in the order in which they were asked for."""
        return tuple(self._further)

    def effects(self) -> Effects | None:
        """All effects asked for, as one, in the order in which they were asked for."""
        asked = self._effects
        if not asked:
            return None

        def run_all(connection: Connection) -> dict[str, Any]:
            merged: dict[str, Any] = {}
            for effects in asked:
                merged.update(effects(connection) or {})
            return merged

        return run_all

    def checkpoint(self, fn: Callable[[Connection], Any]) -> Any:
        self.stop_if_asked()
        claim = self._kept.claim

        def steps(connection: Connection) -> Any:
            result = fn(connection)
            leases.hold(connection, claim)
            failpoints.hit("checkpoint.before_commit", connection)
            return result

        try:
            return in_transaction(clients.engine(), steps, wait_for_database_s=claim.lease_s)
        except Fenced as fenced:
            raise self.stopped_by(fenced) from fenced

    def stopped_by(self, fenced: Fenced) -> WorkStopped:
        """What a failed fence means for the work, as the run's row tells it now."""
        if fenced.what == "claim":
            return WorkStopped("lease_lost", str(fenced))
        reason = in_transaction(clients.engine(), lambda c: leases.renew(c, self._kept.claim))
        return WorkStopped(reason or "fenced", str(fenced))

    def job_results(self) -> Iterator[dict[str, Any]]:
        with clients.engine().connect() as connection:
            yield from jobs.results(connection, self.run_id)


_last_plan: tuple[str, Mapping[str, Any]] | None = None


def _plan_of(run_id: str) -> Mapping[str, Any]:
    """What planning returned: read once per run, for a worker mostly does the jobs of one run after another."""
    global _last_plan
    if _last_plan is None or _last_plan[0] != run_id:
        _last_plan = (run_id, in_transaction(clients.engine(), lambda c: jobs.result_of(c, run_id, 0)))
    return _last_plan[1]
