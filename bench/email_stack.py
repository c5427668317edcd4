"""What the campaign benchmarks share: private servers, workers as in supervisord.conf, and a mail server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from stack.debian import smtp_sink_program, smtp_sink_user
from stack.private import Servers, private_servers

PROJECT = Path(__file__).resolve().parent.parent

HTML = """<html><head><style>p { color: #333 } .button { background: #06c; color: #fff }</style></head><body>
<p>Dear {{ name }},</p>
<p>your order {{ order }} from {{ city }} has points: {{ points }}.</p>
{% for item in ["one", "two", "three"] %}<p>Offer {{ item }} for {{ name }}</p>{% endfor %}
<p><a class="button" href="https://example.com/offers?c={{ order }}">See them all</a></p>
</body></html>"""
SUBJECT = "{{ name }}, your offers"
SENDER = "News <news@sender.example.com>"


@dataclass
class BenchStack:
    """Servers and workers; ``folder`` may be written to."""

    servers: Servers
    folder: Path
    workers: list[subprocess.Popen[bytes]]

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        ends = self.servers.endpoints
        connection = pymysql.connect(
            host="127.0.0.1",
            port=ends.mariadb_port,
            user="root",
            password=ends.mariadb_root_password,
            database="holdfast",
            charset="utf8mb4",
            autocommit=True,
            init_command="SET SESSION time_zone = '+00:00'",
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall())
        finally:
            connection.close()


@contextmanager
def bench_stack(workers: int, environment: Mapping[str, str], *, buffer_mb: int = 256) -> Iterator[BenchStack]:
    """A control worker, ``workers`` email workers of one child each, a dispatcher."""
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory,
        private_servers(Path(directory) / "servers", buffer_mb=buffer_mb) as servers,
    ):
        folder = Path(directory)
        os.environ.update(
            servers.environment() | {"HOLDFAST_VAR": directory, "IMPORT_ROOTS": directory} | dict(environment)
        )
        celery = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-l", "warning", "-c", "1"]
        commands = [
            [*celery, "-Q", "control", "-n", "control@%h"],
            *([*celery, "-Q", "email", "-n", f"email{number}@%h"] for number in range(workers)),
            [sys.executable, "-m", "tasks.dispatcher"],
        ]
        processes = []
        for number, command in enumerate(commands):
            with (folder / f"process{number}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=subprocess.STDOUT))
        try:
            yield BenchStack(servers, folder, processes)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


@contextmanager
def smtp_sink(*options: str, port: int) -> Iterator[None]:
    """Postfix' ``smtp-sink`` on loopback."""
    program = smtp_sink_program()
    command = [str(program.path), *smtp_sink_user(), *options, f"127.0.0.1:{port}", "100"]
    process = subprocess.Popen(command, env=program.environment(), stdout=subprocess.DEVNULL)
    try:
        give_up_at = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > give_up_at or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def write_list(path: Path, recipients: int) -> None:
    """A CSV of recipients and what the template asks for."""
    with path.open("w", encoding="utf-8") as file:
        file.write("email,name,order,city,points\n")
        for n in range(recipients):
            file.write(f"person{n}@example{n % 50}.com,Person {n},A-{n:07d},Gießen,{n % 977}\n")
