"""Programs out of the distribution's packages: they start, they answer, and fetching them is done once."""

from __future__ import annotations

import os
import smtplib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from stack.debian import Program, nginx_program, smtp_sink_program, smtp_sink_user
from stack.endpoints import HOST, free_port
from stack.layout import PROJECT
from stack.packages import unpack
from stack.server_process import ServerProcess

NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port};
        location / {{ return 200 "answered\\n"; }}
    }}
}}
"""


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _start(name: str, program: Program, arguments: list[str], port: int, directory: Path) -> ServerProcess:
    command = [str(program.path), *arguments]
    server = ServerProcess(name, command, program.environment(), directory / f"{name}.log", lambda: _listens(port))
    server.start()
    return server


def test_smtp_sink_takes_a_mail(tmp_path: Path) -> None:
    """The sink accepts a message on loopback and keeps it."""
    port = free_port()
    arguments = smtp_sink_user()
    arguments += ["-d", str(tmp_path / "mail."), f"{HOST}:{port}", "10"]
    sink = _start("smtp-sink", smtp_sink_program(), arguments, port, tmp_path)
    try:
        with smtplib.SMTP(HOST, port, timeout=10) as client:
            assert client.sendmail("a@example.org", ["b@example.org"], "Subject: x\r\n\r\nkept\r\n") == {}
        stored = [file.read_text(encoding="ascii") for file in tmp_path.glob("mail.*")]
        assert any("kept" in text for text in stored)
    finally:
        sink.kill()


def test_nginx_answers(tmp_path: Path) -> None:
    """Nginx serves a configuration that lies wholly in a directory of ours."""
    port = free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(directory=tmp_path, host=HOST, port=port), encoding="utf-8")
    arguments = ["-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    nginx = _start("nginx", nginx_program(), arguments, port, tmp_path)
    try:
        assert requests.get(f"http://{HOST}:{port}/", timeout=10).text == "answered\n"
    finally:
        nginx.stop()


def _fake_apt(directory: Path) -> None:
    """An apt that takes half a second, says that it was called, and brings a package with one file."""
    download = 'case "$*" in *download*) echo called >> "$CALLS"; sleep 0.5; touch only.deb;; esac'
    unpack = 'echo extracted > "$3/file"'
    for name, text in (("apt-get", download), ("dpkg-deb", unpack)):
        (directory / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (directory / name).chmod(0o755)


def test_two_that_fetch_at_once_fetch_it_once(tmp_path: Path) -> None:
    """Four processes want the same packages: one fetches, the others wait for it, all find them."""
    _fake_apt(tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    code = (
        "import sys; from pathlib import Path; from stack.packages import unpack\n"
        "print((unpack(Path(sys.argv[1]), ['only'], what_to_do='').root / 'file').read_text())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "packages")]
    children = [
        subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == ["extracted"] * 4
    assert (tmp_path / "calls").read_text(encoding="ascii").split() == ["called"]


def test_a_fetch_that_was_stopped_in_the_middle_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a package is never taken for a whole one."""
    _fake_apt(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    left = tmp_path / "packages" / "root.new"
    left.mkdir(parents=True)
    (left / "half").touch()
    root = unpack(tmp_path / "packages", ["only"], what_to_do="").root
    assert [file.name for file in root.iterdir()] == ["file"]
