"""What a stack consists of: which servers are private, where everything listens, the environment of every program."""

from __future__ import annotations

import glob
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stack.endpoints import HOST, Endpoints, free_port, port_is_free
from stack.errors import StackError
from stack.layout import PROJECT, socket_path, var_dir
from stack.pools import pool_numbers
from stack.secret_files import write_secret

FLOWER_USER = "holdfast"
_KEPT = ("IMPORT_TABLES", "HOLDFAST_KINDS", "HOLDFAST_SYNC", "HOLDFAST_SCHEDULES", "HOLDFAST_PURGE_CRON")
_KEPT_BEGINNINGS = ("EMAIL_", "IMAGE_", "SYNC_", "ALERT_", "HOLDFAST_ALERT_", "HOLDFAST_KEEP_")
STACK_MARK = "HOLDFAST_STACK"
"""Environment variable that every process of a stack carries: its ``var`` directory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A stack as it shall run.

    ``settings``  what goes into ``stack.env``
    ``numbers``   of the pools, see `stack.pools`
    ``inherited`` the environment that the plan was made in
    """

    var: Path
    endpoints: Endpoints
    private_valkey: bool
    private_mariadb: bool
    settings: dict[str, str]
    numbers: dict[str, str]
    inherited: dict[str, str]

    @property
    def supervisor_socket(self) -> Path:
        """Where Supervisor listens."""
        return socket_path(self.var / "supervisor", "supervisor.sock")

    @property
    def servers_conf(self) -> Path:
        """The part of Supervisor's configuration that holds the private servers."""
        return self.var / "supervisor" / "servers.conf"

    @property
    def env_file(self) -> Path:
        """``stack.env``."""
        return self.var / "stack.env"

    def environment(self) -> dict[str, str]:
        """The whole environment of Supervisor and of every program."""
        ours = {
            "HOLDFAST_VAR": str(self.var),
            "HOLDFAST_PYTHON": sys.executable,
            # With private servers, `up` starts the programs itself: after the servers, after the schema.
            "HOLDFAST_AUTOSTART": "false" if self.private_valkey or self.private_mariadb else "true",
            "HOLDFAST_SUPERVISOR_SOCKET": str(self.supervisor_socket),
            # A list of glob patterns, split at blanks.
            "HOLDFAST_SERVERS_CONF": glob.escape(str(self.servers_conf)).replace(" ", "?"),
            STACK_MARK: str(self.var),
            # Otherwise the last lines before a crash never reach the log.
            "PYTHONUNBUFFERED": "1",
        }
        return {**self.inherited, **self.settings, **self.numbers, **ours}


def make_plan(environ: Mapping[str, str] = os.environ) -> Plan:
    """The plan that the environment asks for; ports and passwords stay what they were the last time.

    ``DATABASE_URL``, ``REDIS_URL`` and ``CELERY_BROKER_URL`` in the environment mean the user's own servers.

    Raises `StackError` for a path or a number that cannot be.
    """
    var = var_dir(environ)
    for path in (var, PROJECT, Path(sys.executable)):
        # Supervisor expands a percent sign, some settings twice, and takes a blank and a semicolon for a comment.
        if "%" in str(path) or " ;" in str(path) or "\n" in str(path):
            raise StackError(f"Supervisor cannot work with the path {str(path)!r}: choose one without % and ;")
    endpoints, flower = _remembered(var)
    private = {name: value for name, value in endpoints.environment().items() if not environ.get(name)}
    given = {name: environ[name] for name in endpoints.environment() if environ.get(name)}
    settings = {
        **private,
        **given,
        "FLOWER_URL": f"http://{HOST}:{flower['port']}",
        "FLOWER_USER": FLOWER_USER,
        "FLOWER_PASSWORD": str(flower["password"]),
        "IMPORT_ROOTS": environ.get("IMPORT_ROOTS")
        or os.pathsep.join((str(var / "imports"), str(PROJECT / "examples"))),
    }
    # Whoever calls `ops` or starts a run from another shell finds in stack.env what the workers were started with.
    settings |= {
        name: value for name, value in environ.items() if value and (name in _KEPT or name.startswith(_KEPT_BEGINNINGS))
    }
    return Plan(
        var=var,
        endpoints=endpoints,
        private_valkey="REDIS_URL" in private or "CELERY_BROKER_URL" in private,
        private_mariadb="DATABASE_URL" in private,
        settings=settings,
        numbers=pool_numbers(environ),
        inherited=dict(environ),
    )


def choose_free_ports(plan: Plan) -> None:
    """Give up the remembered ports that someone else listens on by now.  Only for a stack that is down: make a new plan after."""
    endpoints, flower = _remembered(plan.var)
    if not port_is_free(endpoints.valkey_port):
        endpoints = replace(endpoints, valkey_port=free_port())
    if not port_is_free(endpoints.mariadb_port):
        endpoints = replace(endpoints, mariadb_port=free_port(taken={endpoints.valkey_port}))
    if not port_is_free(int(flower["port"])):
        flower["port"] = free_port(taken={endpoints.valkey_port, endpoints.mariadb_port})
    _remember(plan.var, endpoints, flower)


def _remembered(var: Path) -> tuple[Endpoints, dict[str, int | str]]:
    try:
        found = json.loads((var / "private.json").read_text(encoding="utf-8"))
        return Endpoints(**found["endpoints"]), found["flower"]
    except FileNotFoundError:
        endpoints = Endpoints.generate()
        port = free_port(taken={endpoints.valkey_port, endpoints.mariadb_port})
        flower: dict[str, int | str] = {"port": port, "password": secrets.token_urlsafe(24)}
        _remember(var, endpoints, flower)
        return endpoints, flower


def _remember(var: Path, endpoints: Endpoints, flower: dict[str, int | str]) -> None:
    write_secret(var / "private.json", json.dumps({"endpoints": asdict(endpoints), "flower": flower}, indent=1) + "\n")
