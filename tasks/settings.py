"""Holdfast's settings: one frozen object, from the environment, else from ``var/stack.env`` of `make up`."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tasks.errors import TasksError

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class SettingsMissing(TasksError):
    """A setting that has no default is nowhere to be found."""


_PROVIDER = "EMAIL_PROVIDER_"
_CONNECTION_VARIABLE = "SYNC_CONNECTION_"
_SIGNED_BY_VARIABLE = "SYNC_WEBHOOK_SECRET_"


@dataclass(frozen=True, slots=True, repr=False)
class AlertSettings:
    """When alerts fire and whom they tell; without a repr, for the URLs are secrets.  See docs/settings.md."""

    every_s: float = 15.0
    patience_s: float = 30.0
    calm_s: float = 60.0
    stuck_s: float = 1800.0
    backlog_s: float = 900.0
    failure_share: float = 0.2
    email_to: str = ""
    email_from: str = ""
    slack_url: str = ""
    webhook_url: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Where things are and how patient to be; without a repr, for the addresses hold passwords."""

    database_url: str
    redis_url: str
    broker_url: str
    import_roots: tuple[Path, ...]
    import_tables: tuple[str, ...]
    image_roots: tuple[Path, ...]
    image_dest_roots: tuple[Path, ...]
    var: Path
    lock_ttl_s: float = 5.0
    dispatch_interval_s: float = 0.5
    control_queue: str = "control"
    extra_kinds: tuple[str, ...] = ()
    schedules: Path | None = None
    job_memory_mb: int = 2048
    email_template_roots: tuple[Path, ...] = ()
    email_attachment_roots: tuple[Path, ...] = ()
    email_queries: tuple[str, ...] = ()
    email_unsubscribe_keys: str = ""
    email_unsubscribe_url: str = ""
    email_providers: Mapping[str, str] = field(default_factory=dict)
    """Name in lower case → SMTP URL, of every ``EMAIL_PROVIDER_<NAME>``; the URLs hold passwords."""
    sync: tuple[str, ...] = ()
    """``module:attribute`` of each declared connection of the API sync."""
    sync_addresses: Mapping[str, str] = field(default_factory=dict)
    """Name in lower case → base URL, of every ``SYNC_CONNECTION_<NAME>``; the URLs hold credentials."""
    sync_webhook_secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Likewise of ``SYNC_WEBHOOK_SECRET_<NAME>``: several, parted by blanks, while they are rotated."""
    alerts: AlertSettings = field(default_factory=AlertSettings)
    keep_days: Mapping[str, int] = field(default_factory=dict)
    """Days that retention keeps what ended, where they differ from `runstate.purge.Keep`."""
    purge_cron: str = "17 3 * * *"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; the environment wins over ``<HOLDFAST_VAR>/stack.env``.

    Raises `SettingsMissing`, naming the variable and what sets it.
    """
    environ = os.environ if environ is None else environ
    var = Path(environ.get("HOLDFAST_VAR") or PROJECT_ROOT / "var").absolute()
    values = {**read_env_file(var / "stack.env"), **environ}

    def required(name: str) -> str:
        value = values.get(name)
        if not value:
            raise SettingsMissing(
                f"{name} is not set: run `make up` (it writes {var / 'stack.env'}), or set it to your own server"
            )
        return value

    redis_url = required("REDIS_URL")
    return Settings(
        database_url=required("DATABASE_URL"),
        redis_url=redis_url,
        broker_url=values.get("CELERY_BROKER_URL") or redis_url,
        import_roots=_folders(values.get("IMPORT_ROOTS") or str(var / "imports")),
        import_tables=_words(values.get("IMPORT_TABLES")),
        email_template_roots=_folders(values.get("EMAIL_TEMPLATE_ROOTS") or str(var / "templates")),
        email_attachment_roots=_folders(values.get("EMAIL_ATTACHMENT_ROOTS") or str(var / "attachments")),
        email_queries=_words(values.get("EMAIL_QUERIES")),
        email_unsubscribe_keys=values.get("EMAIL_UNSUBSCRIBE_KEYS") or "",
        email_unsubscribe_url=values.get("EMAIL_UNSUBSCRIBE_URL") or "",
        sync=_words(values.get("HOLDFAST_SYNC")),
        sync_addresses=_named(values, _CONNECTION_VARIABLE),
        sync_webhook_secrets={name: tuple(text.split()) for name, text in _named(values, _SIGNED_BY_VARIABLE).items()},
        email_providers={
            name.removeprefix(_PROVIDER).lower(): url for name, url in values.items() if name.startswith(_PROVIDER)
        },
        image_roots=_folders(values.get("IMAGE_ROOTS") or str(var / "images")),
        image_dest_roots=_folders(values.get("IMAGE_DEST_ROOTS") or str(var / "variants")),
        var=var,
        lock_ttl_s=float(values.get("HOLDFAST_LOCK_TTL_S") or 5.0),
        dispatch_interval_s=float(values.get("HOLDFAST_DISPATCH_INTERVAL_S") or 0.5),
        extra_kinds=_words(values.get("HOLDFAST_KINDS")),
        alerts=AlertSettings(
            every_s=float(values.get("HOLDFAST_ALERT_EVERY_S") or 15),
            patience_s=float(values.get("HOLDFAST_ALERT_PATIENCE_S") or 30),
            calm_s=float(values.get("HOLDFAST_ALERT_CALM_S") or 60),
            stuck_s=float(values.get("HOLDFAST_ALERT_STUCK_S") or 1800),
            backlog_s=float(values.get("HOLDFAST_ALERT_BACKLOG_S") or 900),
            failure_share=float(values.get("HOLDFAST_ALERT_FAILURE_SHARE") or 0.2),
            email_to=values.get("ALERT_EMAIL_TO") or "",
            email_from=values.get("ALERT_EMAIL_FROM") or f"holdfast@{socket.gethostname()}",
            slack_url=values.get("ALERT_SLACK_URL") or "",
            webhook_url=values.get("ALERT_WEBHOOK_URL") or "",
        ),
        keep_days=_numbers(
            runs_days=values.get("HOLDFAST_KEEP_RUNS_DAYS"),
            failed_days=values.get("HOLDFAST_KEEP_FAILED_DAYS"),
            letters_days=values.get("HOLDFAST_KEEP_LETTERS_DAYS"),
            audit_days=values.get("HOLDFAST_KEEP_AUDIT_DAYS"),
        ),
        purge_cron=values.get("HOLDFAST_PURGE_CRON") or "17 3 * * *",
        job_memory_mb=int(values.get("HOLDFAST_JOB_MEMORY_MB") or 2048),
        schedules=Path(values["HOLDFAST_SCHEDULES"]) if values.get("HOLDFAST_SCHEDULES") else None,
    )


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process' settings, read once."""
    return load_settings()


def read_env_file(path: Path) -> dict[str, str]:
    """The ``KEY=value`` lines of a file, ``{}`` where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def _named(values: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix).lower(): text for name, text in values.items() if name.startswith(prefix) and text
    }


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(folder) for folder in text.split(os.pathsep) if folder)


def _numbers(**texts: str | None) -> dict[str, int]:
    return {name: int(text) for name, text in texts.items() if text}
