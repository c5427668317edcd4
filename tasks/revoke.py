"""Revoking a start cancels its run: from `StartResult.revoke`, from ``celery control revoke``, from Flower's button."""

from __future__ import annotations

import logging

from celery.worker.request import Request

from runstate.audit import Actor
from runstate.control import NotAllowed
from runstate.errors import NotFound, RunstateError
from tasks import control

log = logging.getLogger("holdfast.revoke")


class StartRequest(Request):  # type: ignore[misc]
    """A start's message in the worker's hands: if its id was revoked, its run is cancelled in MySQL.

    Without this the dispatcher would go on sending a start that every worker throws away.
    """

    def revoked(self) -> bool:
        if not super().revoked():
            return False
        try:
            control.cancel(self.id, Actor("celery revoke", "its start was revoked"))
        except (NotAllowed, NotFound) as error:
            log.info("revoked start %s: %s", self.id, error)
        except RunstateError as error:
            # The dispatcher sends it again, and it is revoked again.
            log.warning("revoked start %s is not cancelled yet: %s", self.id, error)
        return True
