"""What is wrong now: alerts that fire, with since when and what to do, and what a look just now finds besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from ops.checks import Check
from runstate import alerts
from runstate.alerts import Alert
from tasks.settings import settings

State = Literal["firing", "recovering", "new"]
_ORDER: dict[State, int] = {"firing": 0, "new": 1, "recovering": 2}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One cause.  ``since`` is None for what has only just been seen.

    ``state``  ``firing``: an alert, told to the channels; ``recovering``: it looks well again, not for long enough yet;
               ``new``: bad, not for long enough to be an alert
    ``page``   the page that has more of it, and what to ask it for
    """

    name: str
    state: State
    level: str
    found: str
    advice: str
    since: datetime | None
    age_s: float | None
    page: tuple[str, dict[str, str]] | None


@dataclass(frozen=True, slots=True)
class Watch:
    """What the alerts know: ``looked_s`` is the age of their last look, None where there never was one."""

    alerts: list[Alert]
    now: datetime
    looked_s: float | None


def read_watch(connection: Connection) -> Watch:
    """Every cause that is not well, and whether anybody looks."""
    known = alerts.find_alerts(connection)
    return Watch(
        [alert for alert in known.values() if alert.status != "ok"],
        alerts.database_now(connection),
        alerts.looked_age_s(connection),
    )


def troubles(watch: Watch, checks: Sequence[Check]) -> list[Trouble]:
    """Alerts that fire first, the worst and the oldest of them; then what is new, then what recovers."""
    bad = {check.name: check for check in checks if check.level != "ok"}
    found = [_of_alert(alert, bad.pop(alert.cause, None), watch.now) for alert in watch.alerts]
    found += [
        Trouble(check.name, "new", check.level, check.found, check.advice, None, None, _page(check.name))
        for check in bad.values()
    ]
    every_s = settings().alerts.every_s
    if watch.looked_s is None or watch.looked_s > 3 * every_s + 15:
        found.append(_nobody_looks(watch, every_s))
    return sorted(found, key=lambda one: (_ORDER[one.state], one.level == "warn", -(one.age_s or 0), one.name))


def _of_alert(alert: Alert, check: Check | None, now: datetime) -> Trouble:
    state: State = alert.status if alert.status in ("firing", "recovering") else "new"  # type: ignore[assignment]
    since = alert.fired_at if state != "new" and alert.fired_at is not None else alert.since
    # What stands there now is newer than what the last look wrote down.
    told = alert if check is None else check
    age_s = max(0.0, (now - since).total_seconds())
    return Trouble(alert.cause, state, told.level, told.found, told.advice, since, age_s, _page(alert.cause))


def _nobody_looks(watch: Watch, every_s: float) -> Trouble:
    age = "never" if watch.looked_s is None else f"for {watch.looked_s:.0f} s"
    seen = "Nobody has ever looked" if watch.looked_s is None else f"Nobody has looked {age}"
    advice = "beat looks: `make status`, HOLDFAST_BEATS must not be 0; until it does, nobody is called"
    return Trouble("alerts", "new", "warn", f"{seen}; a look is due every {every_s:.0f} s", advice, None, None, None)


def _page(cause: str) -> tuple[str, dict[str, str]] | None:
    """The page that has more."""
    words = cause.split()
    match words:
        case ["failures", "of", kind]:
            return "letters", {"kind": kind}
        case ["backlog", "of", kind]:
            return "runs", {"kind": kind, "status": "open"}
        case ["new", "dead", "letters"]:
            return "letters", {}
        case ["paused", "by", "system"]:
            return "runs", {"status": "paused"}
        case ["stale" | "stuck", "runs"]:
            return "runs", {"status": "active"}
        case ["starts"]:
            return "runs", {"status": "requested"}
        case ["redis"]:
            return "locks", {}
    return None
