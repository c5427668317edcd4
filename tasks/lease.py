"""Keeping a claim: one thread per process extends the lease and tells the work when to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from runstate import leases
from runstate.claims import Claim
from runstate.errors import RunstateError
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import WorkStopped

log = logging.getLogger("holdfast.lease")

_NEVER = float("inf")


class Kept:
    """A claim that is being kept, as the work sees it."""

    def __init__(self, claim: Claim, timeout_s: float) -> None:
        self.claim = claim
        self.started = time.monotonic()
        self.deadline = self.started + timeout_s
        self.renew_at = self.started + claim.lease_s / 3
        self.stop_reason: str | None = None

    def stop_if_asked(self) -> None:
        """Raise `WorkStopped` if the claim or the run is gone, or time is up."""
        if self.stop_reason is None and time.monotonic() >= self.deadline:
            self.stop_reason = "timeout"
        if self.stop_reason is not None:
            raise WorkStopped(self.stop_reason)


class LeaseKeeper:
    """Renews at a third of the lease, on a connection of its own, in database time.

    A claim that could not be renewed because MySQL is away is tried again until it can be judged: only the database knows
    whether it is lost.  A claim past its ``timeout_s`` is renewed no more, so that it comes back even if the work hangs.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: dict[str, Kept] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def keep(self, claim: Claim, timeout_s: float) -> Iterator[Kept]:
        """Keep ``claim`` while the block runs."""
        kept = Kept(claim, timeout_s)
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()
            sleeps_long = all(other.renew_at == _NEVER for other in self._kept.values())
            self._kept[claim.token] = kept
            if sleeps_long:
                self._changed.notify()
        try:
            yield kept
        finally:
            with self._changed:
                self._kept.pop(claim.token, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                soonest = min((kept.renew_at for kept in self._kept.values()), default=_NEVER)
                # The kernel's clock takes no infinity: the thread would die of it.
                wait_s = None if soonest == _NEVER else soonest - time.monotonic()
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                due = [kept for kept in self._kept.values() if kept.renew_at <= time.monotonic()]
            for kept in due:
                self._renew(kept)

    def _renew(self, kept: Kept) -> None:
        claim = kept.claim
        now = time.monotonic()
        if now >= kept.deadline:
            kept.stop_reason = kept.stop_reason or "timeout"
            kept.renew_at = _NEVER
            return

        def renew(connection: Connection) -> str | None:
            return leases.renew(connection, claim)

        try:
            reason = in_transaction(clients.engine(), renew, committed=renew)
            kept.renew_at = time.monotonic() + claim.lease_s / 3
        except RunstateError as error:
            log.warning("job %s of run %s: lease not renewed, %s", claim.job_no, claim.run_id, error)
            kept.renew_at = time.monotonic() + min(1.0, claim.lease_s / 10)
            return
        except Exception:
            # The keeper must not die of what it does not know: the work would never hear of it.
            log.exception("job %s of run %s: lease not renewed", claim.job_no, claim.run_id)
            kept.renew_at = time.monotonic() + 1.0
            return
        if reason is not None:
            kept.stop_reason = kept.stop_reason or reason
            if reason in ("lease_lost", "fenced"):
                kept.renew_at = _NEVER
