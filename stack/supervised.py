"""The private servers as programs of Supervisor: the part of its configuration that depends on the machine."""

from __future__ import annotations

import shlex
from pathlib import Path

from stack.mariadb import configure_mariadb
from stack.mariadb_programs import mariadb_programs
from stack.plan import Plan
from stack.secret_files import write_secret
from stack.valkey import configure_valkey

BUFFER_MB = 256
SERVER_GROUPS = ("valkey", "mariadb")


def write_server_programs(plan: Plan) -> None:
    """Write ``var/supervisor/servers.conf``: a program for each private server, none for the user's own."""
    sections = []
    if plan.private_valkey:
        command = configure_valkey(plan.var / "valkey", plan.endpoints, durable=True)
        sections.append(_program("valkey", command, plan.var, environment={}))
    if plan.private_mariadb:
        programs = mariadb_programs()
        command = configure_mariadb(plan.var / "mariadb", programs, plan.endpoints, buffer_mb=BUFFER_MB)
        environment = {"LD_LIBRARY_PATH": programs.library_path} if programs.library_path else {}
        sections.append(_program("mariadb", command, plan.var, environment=environment))
    write_secret(plan.servers_conf, "\n".join(["; Written by `make up`.", *sections]))


def _program(name: str, command: list[str], var: Path, *, environment: dict[str, str]) -> str:
    lines = [
        f"[program:{name}]",
        f"command={shlex.join(command)}",
        f"directory={var}",
        # Started before the programs that need them, stopped after them.
        "priority=10",
        "autostart=true",
        "autorestart=true",
        "startretries=1000",
        "startsecs=1",
        "stopsignal=TERM",
        # InnoDB writes its buffers back; a kill would only cost a recovery at the next start.
        "stopwaitsecs=60",
        "redirect_stderr=true",
        f"stdout_logfile={var / 'log' / f'{name}.log'}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=3",
    ]
    if environment:
        pairs = ",".join(f'{key}="{value}"' for key, value in environment.items())
        lines.append(f"environment={pairs}")
    return "\n".join(lines) + "\n"
