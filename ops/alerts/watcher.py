"""The thread beside beat: it looks, tells, and when MySQL itself is away, tells that without it."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from ops.alerts.channels import channel_names, deliver
from ops.alerts.errors import NotDelivered
from ops.alerts.look import look_if_due
from ops.alerts.outbox import send_due
from runstate.alerts import Notice
from runstate.errors import RunstateError
from tasks.settings import settings

log = logging.getLogger("holdfast.alerts")


class Watcher:
    """Looks every ``HOLDFAST_ALERT_EVERY_S`` seconds; of several on several hosts, one makes each look."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._away_since: float | None = None
        self._told_away = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        every_s = settings().alerts.every_s
        while not self._stop.is_set():
            try:
                self.once(every_s)
            except Exception:
                # The thread must outlive what it does not know: it is the one that would tell.
                log.exception("alerts: a look failed")
            self._stop.wait(min(5.0, every_s))

    def once(self, every_s: float) -> None:
        """Look if it is due, and send what is due."""
        try:
            look_if_due(every_s)
            send_due()
        except RunstateError as error:
            self._away(str(error))
        else:
            self._back()

    def _away(self, why: str) -> None:
        # Where MySQL is away there is no memory but this process': each beat tells once.
        now = time.monotonic()
        self._away_since = self._away_since or now
        if not self._told_away and now - self._away_since >= settings().alerts.patience_s:
            self._told_away = True
            log.error("alert fired: mysql: %s", why)
            self._tell("fired", "fail", why)

    def _back(self) -> None:
        if self._told_away:
            log.warning("alert cleared: mysql answers again")
            self._tell("cleared", "ok", "MySQL answers again")
        self._away_since, self._told_away = None, False

    @staticmethod
    def _tell(event: str, level: str, found: str) -> None:
        at = datetime.now(UTC).replace(tzinfo=None)
        advice = "" if level == "ok" else "nothing starts and nothing is recorded until MySQL is back"
        for channel in channel_names():
            try:
                deliver(Notice(0, channel, "mysql", event, level, found, advice, at, 0))
            except NotDelivered as error:
                log.warning("alert about mysql not delivered: %s", error)
