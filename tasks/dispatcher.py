"""The dispatcher: ``python -m tasks.dispatcher``. Reconciles what MySQL says must happen with what is out as messages.

Two or more run at once: every step is a conditional UPDATE or ``FOR UPDATE SKIP LOCKED``, so that whoever comes first does
it.  If all of them stop, running work goes on; when one is back, it catches up.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from kombu.exceptions import OperationalError
from sqlalchemy import Connection

from locks import LockUnavailable, connect, read_epoch, set_epoch_if_absent
from runstate import audit, nodes, reap, replays, sweep
from runstate.audit import Actor
from runstate.errors import Fenced, RunstateError
from runstate.outcomes import Recorded
from runstate.reap import LostClaim
from runstate.record import record
from runstate.transaction import in_transaction
from tasks import clients, failpoints, logs, metrics, metrics_sink
from tasks.describe import about_start
from tasks.heartbeat import Heartbeat
from tasks.kinds import JobKind
from tasks.publish import publish_jobs, publish_start, queue_length
from tasks.registry import kinds, kinds_by_queue
from tasks.settings import settings

log = logging.getLogger("holdfast.dispatcher")

START_BATCH = 200
REPORT_EVERY_S = 60


class Dispatcher:
    """One round after another of the steps below; each step on its own, so that one that fails stops no other."""

    def __init__(self) -> None:
        from tasks import starts

        self._starts = starts
        self._engine = clients.engine()
        self._broker = connect(settings().broker_url) if settings().broker_url.startswith("redis") else None
        self._epoch: str | None = None
        self._connected_at: float | None = None
        self._reported_at = 0.0
        self.steps: tuple[Callable[[], None], ...] = (
            self.notice_lost_broker,
            self.publish_starts,
            self.put_back_lost_claims,
            self.fill_windows,
            self.publish_unheard_jobs,
            self.clear_ended_runs,
            self.release_letters,
            self.report,
        )

    def round(self) -> None:
        """Do every step once."""
        for step in self.steps:
            try:
                step()
                if self._connected_at is None:
                    self._connected_at = time.monotonic()
            except RunstateError as error:
                self._connected_at = None
                log.warning("%s: %s", step.__name__, error)
                return
            except (LockUnavailable, OperationalError, OSError) as error:
                log.warning("%s: the broker is away: %s", step.__name__, error)
            except Exception:
                # A step that meets what it does not know must not stop the other steps, nor the rounds to come.
                log.exception("%s failed", step.__name__)

    def notice_lost_broker(self) -> None:
        """Redis holds an epoch key; gone or changed, all messages are gone, and every queued job goes back to pending."""
        if self._broker is None:
            return
        epoch = read_epoch(self._broker)
        if epoch is None or (self._epoch is not None and epoch != self._epoch):
            # Before the new epoch is set: whoever dies in between leaves it for the next to find.
            forgotten = in_transaction(self._engine, _forget_messages)
            metrics.count("holdfast_swept_total", forgotten, step="notice_lost_broker")
            log.warning("Redis was emptied or replaced: %d queued jobs go back to pending", forgotten)
            epoch = set_epoch_if_absent(self._broker)
        self._epoch = epoch

    def publish_starts(self) -> None:
        """Requested starts without a message, or whose message is late: published (again), each less and less often."""
        requested = in_transaction(self._engine, sweep.requested_count)
        if not requested:
            return
        most = min(START_BATCH, requested - queue_length(settings().control_queue))
        if most <= 0:
            return
        due = in_transaction(self._engine, partial(sweep.take_due_requests, most=most))
        for number, request in enumerate(due):
            failpoints.hit("dispatch.before_publish")
            metrics.count("holdfast_swept_total", step="publish_starts")
            kind = kinds().get(request.kind)
            about = about_start(kind, request.run_id, request.args) or repr(request.args)[:200]
            if not publish_start(request.kind, request.run_id, about=about, canvas=request.canvas):
                untaken = [late.run_id for late in due[number:]]
                in_transaction(self._engine, partial(sweep.request_again, run_ids=untaken))
                return

    def put_back_lost_claims(self) -> None:
        """Claims whose lease ran out go back to pending, or are dead after too many crashes.

        No lease is judged until one full lease after the connection to MySQL came (back): workers were cut off as well.
        """
        if self._connected_at is None:
            return
        connected_s = time.monotonic() - self._connected_at
        for kind in kinds().values():
            if connected_s < kind.lease_s:
                continue
            for lost in in_transaction(self._engine, partial(reap.find_lost, kind=kind.name, lease_s=kind.lease_s)):
                metrics.count("holdfast_swept_total", step="put_back_lost_claims")
                self._put_back(kind, lost)

    def _put_back(self, kind: JobKind, lost: LostClaim) -> None:
        def steps(connection: Connection) -> Recorded:
            recorded = record(
                connection,
                lost.claim,
                lost.outcome(kind.max_crashes),
                lost.measured,
                has_finish=kind.finish is not None,
                only_expired=True,
            )
            failpoints.hit("reap.before_commit", connection)
            return recorded

        try:
            recorded = in_transaction(self._engine, steps)
        except Fenced:
            return
        log.warning(
            "run %s job %d: claim of %s ran out %.1f s ago (%s)",
            lost.claim.run_id,
            lost.claim.job_no,
            lost.claim.worker,
            lost.overdue_s,
            "its node lives: a crash" if lost.node_alive else "its node is lost",
        )
        publish_jobs(kind, lost.claim.run_id, recorded.next_jobs, first=True)

    def fill_windows(self) -> None:
        """Due jobs go out as far as the window of their run has room; every run has its own, so none starves another."""
        for window in in_transaction(self._engine, sweep.windows_with_due_jobs):
            kind = kinds().get(window.kind)
            if kind is None or window.out >= kind.window:
                continue
            room = kind.window - window.out
            let_out = partial(sweep.let_out, run_id=window.run_id, most=room, planning=window.planning)
            job_nos = in_transaction(self._engine, let_out)
            publish_jobs(kind, window.run_id, job_nos)

    def publish_unheard_jobs(self) -> None:
        """Queued jobs whose message was lost: published again while their queue is shorter than its queued rows."""
        for queue, queue_kinds in kinds_by_queue().items():
            names = [kind.name for kind in queue_kinds]
            queued = in_transaction(self._engine, partial(sweep.queued_count, kinds=names))
            if not queued:
                continue
            missing = queued - queue_length(queue)
            if missing <= 0:
                continue
            unheard = in_transaction(self._engine, partial(sweep.take_unheard, kinds=names, most=missing))
            metrics.count("holdfast_swept_total", len(unheard), step="publish_unheard_jobs")
            for kind_name, run_id, job_no in unheard:
                log.info("run %s job %d: published again", run_id, job_no)
                publish_jobs(kinds()[kind_name], run_id, [job_no])

    def clear_ended_runs(self) -> None:
        """Open jobs of runs that were cancelled or failed are cancelled in batches; then the run is cleared."""
        for run_id, _status in in_transaction(self._engine, sweep.runs_to_clear):
            while in_transaction(self._engine, partial(sweep.cancel_open_jobs, run_id=run_id)):
                pass
            in_transaction(self._engine, partial(sweep.close_cleared, run_id=run_id))

    def release_letters(self) -> None:
        """Letters whose replay was refused or ended without doing them are dead again."""
        in_transaction(self._engine, replays.release_letters)

    def report(self) -> None:
        """Once a minute: say how old the oldest due work is, forget nodes that were lost a day ago."""
        if time.monotonic() - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = time.monotonic()
        log.info("oldest due work waits for %.1f s", in_transaction(self._engine, sweep.oldest_due_age_s))
        in_transaction(self._engine, nodes.forget_lost)


def _forget_messages(connection: Connection) -> int:
    """With an entry in the audit log: nothing else tells operators that Redis lost everything, for the work just goes on."""
    forgotten = sweep.forget_messages(connection)
    if forgotten:
        reason = "Redis was emptied or replaced: its messages are gone, what was queued goes back to pending"
        audit.write(
            connection, Actor("dispatcher", reason), "redis_lost", "redis", {"queued": forgotten}, {"queued": 0}
        )
    return forgotten


def main() -> int:
    """Run rounds until SIGTERM or SIGINT; the round under way is finished."""
    logs.set_up()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    name = os.environ.get("HOLDFAST_NODE_NAME") or f"dispatcher-{os.getpid()}@{socket.gethostname()}"
    heartbeat = Heartbeat(name, "dispatcher", tuple)
    heartbeat.start()
    dispatcher = Dispatcher()
    log.info("%s started", name)
    while not stop.is_set():
        dispatcher.round()
        metrics_sink.tell()
        stop.wait(settings().dispatch_interval_s)
    heartbeat.stop()
    log.info("%s stopped", name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
