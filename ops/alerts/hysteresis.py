"""When a cause fires and when it is over: pure, so that a table of tests can hold it.

========== ====================================== =============================================
was        now bad                                now good
========== ====================================== =============================================
ok         pending; firing at once without        ok
           patience
pending    firing after ``patience_s``            ok: it was a moment only
firing     firing; *worse* if it only warned      recovering
recovering firing: it was never over              ok after ``calm_s``: *cleared*
========== ====================================== =============================================
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from ops.checks import Check
from runstate.alerts import Alert

Event = Literal["fired", "worse", "cleared"]


def step(
    before: Alert | None, check: Check, now: datetime, *, patience_s: float, calm_s: float
) -> tuple[Alert, Event | None]:
    """Where the cause stands after this look, and what is to be told."""
    alert = before or Alert(check.name, "ok", "ok", "", "", since=now, fired_at=None, seen_at=now)
    alert = replace(alert, seen_at=now)
    if check.level == "ok":
        return _good(alert, check, now, calm_s)
    told = replace(alert, level=check.level, found=check.found, advice=check.advice)
    match alert.status:
        case "firing":
            return told, "worse" if (alert.level, check.level) == ("warn", "fail") else None
        case "recovering":
            return replace(told, status="firing", since=now), None
        case "pending" if _age_s(alert, now) >= patience_s:
            return replace(told, status="firing", since=now, fired_at=now), "fired"
        case "pending":
            return told, None
        case _ if patience_s <= 0:
            return replace(told, status="firing", since=now, fired_at=now), "fired"
        case _:
            return replace(told, status="pending", since=now), None


def _good(alert: Alert, check: Check, now: datetime, calm_s: float) -> tuple[Alert, Event | None]:
    match alert.status:
        case "firing" if calm_s > 0:
            # What was found stays until it is over: whoever looks now wants to know what it was.
            return replace(alert, status="recovering", since=now), None
        case "recovering" if _age_s(alert, now) < calm_s:
            return alert, None
        case "firing" | "recovering":
            return replace(alert, status="ok", level="ok", found=check.found, advice="", since=now), "cleared"
        case "ok":
            return replace(alert, found=check.found), None
        case _:
            return replace(alert, status="ok", level="ok", found=check.found, advice="", since=now), None


def _age_s(alert: Alert, now: datetime) -> float:
    return (now - alert.since).total_seconds()
