"""``ops check``: are the servers and the settings such that the promises can be kept?"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from kombu.transport import get_transport_cls
from sqlalchemy.exc import SQLAlchemyError

from locks import LocksError, connect, server_facts
from ops.checks import Check, attempt, report
from ops.judge_database import judge_database
from ops.judge_redis import judge_redis
from ops.judge_settings import judge_celery, judge_kinds, judge_lock_ttl
from ops.output import Output
from ops.parsers import Commands
from runstate.errors import RunstateError
from runstate.migrate import current_revision, newest_revision
from runstate.server import server_facts as database_facts
from runstate.transaction import in_transaction
from tasks import clients
from tasks.celery import app
from tasks.registry import kinds
from tasks.settings import settings

STOP_WAIT_S = 960
"""Supervisor's patience with a worker that finishes its jobs, unless HOLDFAST_STOP_WAIT_S says otherwise."""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``check``."""
    parser = commands.add_parser(
        "check", parents=[common], help="can the servers and settings keep the promises? exit 1 if not"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 for warnings, too")
    parser.set_defaults(run=check)


def check(options: argparse.Namespace, output: Output) -> int:
    """Print what is set up well and what is not."""
    return report(all_checks(), output, strict=options.strict)


def all_checks() -> list[Check]:
    """Every check; those of a server that is away are one failure."""
    database = (RunstateError, SQLAlchemyError, OSError)
    found = _all("database", _database, "DATABASE_URL says where it should be", database)
    found += _all("locks' redis", lambda: _redis(settings().redis_url, "locks' redis"), "REDIS_URL", (LocksError,))
    if settings().broker_url.startswith(("redis:", "rediss:", "unix:")):
        found += _all("broker", lambda: _redis(settings().broker_url, "broker"), "CELERY_BROKER_URL", (LocksError,))
    stop_wait_s = float(os.environ.get("HOLDFAST_STOP_WAIT_S") or STOP_WAIT_S)
    found += [judge_lock_ttl(settings().lock_ttl_s), *judge_kinds(kinds().values(), stop_wait_s)]
    found += judge_celery(app.conf, get_transport_cls(app.connection_for_read().transport_cls))
    return found


def _database() -> list[Check]:
    # A new session asserts isolation, time zone and strict mode, and raises if it does not get them.
    facts = in_transaction(clients.engine(), database_facts)
    revision = in_transaction(clients.engine(), current_revision)
    return judge_database(facts, now_s=time.time(), revision=revision, newest=newest_revision())


def _redis(url: str, name: str) -> list[Check]:
    client = connect(url, owner="ops check")
    try:
        return judge_redis(name, server_facts(client), now_s=time.time())
    finally:
        client.close()


def _all(name: str, look: Callable[[], list[Check]], advice: str, errors: tuple[type[Exception], ...]) -> list[Check]:
    found: list[Check] = []

    def first() -> Check:
        found.extend(look())
        return found[0]

    failed = attempt(name, first, f"it cannot be looked at: {advice}", errors)
    return found or [failed]
