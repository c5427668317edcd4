"""Schedules: cron expressions from a TOML file, and which tick of each is due.

``HOLDFAST_SCHEDULES`` names the file; one table a schedule::

    [nightly-catalogue]
    kind = "import"
    cron = "0 3 * * *"
    zone = "Europe/Berlin"        # UTC if not given
    args = { source = "/data/catalogue.csv", target = "products", key = ["sku"] }
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from tasks.errors import BadArguments, TasksError
from tasks.registry import UnknownKind, kind_named
from tasks.requests import make_request

OFF = "off"


class BadSchedule(TasksError):
    """A schedule cannot be what its file says."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run a tick: ``kind`` with ``args``, whenever ``cron`` says so in ``zone``."""

    name: str
    kind: str
    cron: str
    args: Mapping[str, Any]
    zone: str = "UTC"

    def newest_tick(self, now: datetime) -> datetime:
        """The newest nominal time that is not after ``now`` (aware), in UTC."""
        local = now.astimezone(ZoneInfo(self.zone)).replace(microsecond=0) + timedelta(seconds=1)
        return next(CronSim(self.cron, local, reverse=True)).astimezone(UTC)

    def next_tick(self, now: datetime) -> datetime:
        """The next nominal time after ``now`` (aware), in UTC."""
        return next(CronSim(self.cron, now.astimezone(ZoneInfo(self.zone)))).astimezone(UTC)

    def idempotency_key(self, tick: datetime) -> str:
        """One key a tick, the same on every host: its name and nominal time."""
        return f"schedule:{self.name}:{tick:%Y-%m-%dT%H:%M:%SZ}"


def load_schedules(path: Path | None, *, purge_cron: str = OFF) -> list[Schedule]:
    """Our own (the nightly purge) and those of a file, each checked: its kind, cron expression, zone and arguments.

    Raises `BadSchedule`, naming file, schedule and what to change.
    """
    return [*_built_in(purge_cron), *(_from_file(path) if path is not None else ())]


def _built_in(purge_cron: str) -> list[Schedule]:
    if purge_cron == OFF:
        return []
    return [_checked("HOLDFAST_PURGE_CRON", "holdfast-purge", {"kind": "purge", "cron": purge_cron})]


def _from_file(path: Path) -> list[Schedule]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSchedule(
            f"HOLDFAST_SCHEDULES={path}: {error.strerror}; name a readable TOML file, or unset it"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise BadSchedule(f"{path}: {error}") from error
    return [_checked(path, name, table) for name, table in tables.items()]


def _checked(path: Path | str, name: str, table: Any) -> Schedule:
    where = f"{path}, [{name}]"
    if not isinstance(table, dict) or not {"kind", "cron"} <= set(table):
        raise BadSchedule(f"{where}: give kind, cron and args")
    unknown = set(table) - {"kind", "cron", "zone", "args"}
    if unknown:
        raise BadSchedule(f"{where}: unknown setting {', '.join(sorted(unknown))}; known: kind, cron, zone, args")
    schedule = Schedule(name, table["kind"], table["cron"], table.get("args", {}), table.get("zone", "UTC"))
    try:
        schedule.newest_tick(datetime.now(UTC))
    except CronSimError as error:
        raise BadSchedule(f"{where}: cron = {schedule.cron!r}: {error}") from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSchedule(f"{where}: zone = {schedule.zone!r} is not a time zone of the IANA database") from error
    try:
        make_request(kind_named(schedule.kind), (), schedule.args)
    except (UnknownKind, BadArguments) as error:
        raise BadSchedule(f"{where}: {error}") from error
    return schedule
