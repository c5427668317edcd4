"""A real API for the sync's tests: Kinto (memory backend), with nginx in front that limits and fails as a test asks.

``python -m tests.kinto_server`` serves both until it is interrupted.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.debian import nginx_program
from stack.endpoints import free_port
from stack.layout import PROJECT
from tests.waiting import wait_until

USER, PASSWORD = "sync", "sync-password"
BUCKET = "shop"
LIMITS_S = (1, 2, 5, 60)
"""What ``Retry-After`` can say under `KintoServer.limit`."""

LOST = 599
"""The status with which Kinto tells nginx to hang up instead of answering."""

_SERVE = f"""
import contextlib, io, json, sys, threading
from pathlib import Path
from kinto import main
from waitress import serve
settings, port, directory = json.loads(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
app, writing = main({{}}, **settings), threading.Lock()

def strikes(what):
    for shot in directory.glob(what + "-*"):
        with contextlib.suppress(FileNotFoundError):
            shot.unlink()
            return True
    return False

def refused(environ):
    try:
        return (directory / "refuse").read_text() if "HTTP_X_THROUGH_NGINX" in environ else ""
    except FileNotFoundError:
        return ""

def chokes(environ):
    try:
        poison = (directory / "poison").read_bytes()
    except FileNotFoundError:
        return False
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return poison in body

def guarded(environ, start_response):
    if answer := refused(environ):
        status, _, retry_after = answer.partition(" ")
        start_response(status + " Refused", [("Content-Length", "0"), ("Retry-After", retry_after)], None)
        return [b""]
    # Kinto's memory backend compares If-Match and writes in two steps, so two requests at once could both find their
    # condition true: with PostgreSQL a transaction keeps them apart, here a lock does.
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return app(environ, start_response)
    through_nginx = "HTTP_X_THROUGH_NGINX" in environ
    if through_nginx and strikes("fail"):
        start_response("503 Failed", [("Content-Length", "0")], None)
        return [b""]
    if through_nginx and chokes(environ):
        start_response("500 Choked", [("Content-Length", "0")], None)
        return [b""]
    begun = []
    with writing:
        answer = app(environ, lambda *status_and_headers: begun.append(status_and_headers))
    if through_nginx and strikes("lose"):
        begun, answer = [("{LOST} Lost", [("Content-Length", "0")])], [b""]
    start_response(*begun[-1])
    return answer

serve(guarded, host="127.0.0.1", port=port, threads=8, connection_limit=500)
"""
_SETTINGS = {
    "kinto.storage_backend": "kinto.core.storage.memory",
    "kinto.permission_backend": "kinto.core.permission.memory",
    "kinto.cache_backend": "kinto.core.cache.memory",
    "kinto.userid_hmac_secret": "only for tests",
    "kinto.bucket_create_principals": "system.Authenticated",
    "kinto.includes": "kinto.plugins.flush",
    "multiauth.policies": "basicauth",
    "kinto.batch_max_requests": "100",
}
_NGINX = """
daemon off;
{user}
pid {directory}/nginx.pid;
error_log stderr crit;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    log_format seen escape=json '{{"ended": $msec, "took": $request_time, "status": $status,'
        ' "method": "$request_method", "path": "$request_uri", "server": "$server_name"}}';
    access_log {directory}/access.log seen;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 16m;
    keepalive_requests 100000;
    # The request's own random id decides, so that a repeated request may fare better.
    split_clients "$request_id" $unlucky {{ 10% 1; * 0; }}
    limit_req_zone $server_name zone=limited:1m rate=2r/s;
    map "$after$upstream_http_retry_after" $retry_after {{ "" 1; default "$after$upstream_http_retry_after"; }}
    upstream kinto {{ server 127.0.0.1:{kinto}; keepalive 32; }}
    {servers}
}}
"""
_SERVER = """
    server {{
        listen 127.0.0.1:{port};
        server_name {name};
        set $fault "";
        if (-f {directory}/flaky) {{ set $fault "flaky$unlucky"; }}
        set $after "";
        {flags}
        location = /settle {{ return 204; }}
        location / {{
            if ($fault = "flaky1") {{ return 503; }}
            if ($after) {{ return 429; }}
            {limit_req}
            proxy_pass http://kinto;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Through-Nginx {through};
            proxy_intercept_errors on;
        }}
        error_page {lost} @lost;
        location @lost {{ return 444; }}
        error_page 429 @limited;
        location @limited {{ add_header Retry-After $retry_after always; return 429; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as nginx logged it; ``at`` in seconds since 1970, when it came in; ``server``: front, limited or other."""

    at: float
    status: int
    method: str
    path: str
    server: str = "front"


@dataclass(slots=True)
class KintoServer:
    """``url``: Kinto behind nginx.  ``limited_url``: the same, 2 requests a second.  ``direct_url``: without nginx.
    ``other_url``: behind nginx as well, and out of reach for faults: somebody else's API.
    """

    url: str
    limited_url: str
    other_url: str
    direct_url: str
    directory: Path
    _settings: str
    _kinto: subprocess.Popen[bytes] | None = None

    def call(self, method: str, path: str, content: Any = None, **headers: str) -> Any:
        """Ask Kinto directly, past nginx: what somebody else does.  Raises `urllib.error.HTTPError`."""
        request = urllib.request.Request(
            f"{self.direct_url}{path}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={
                "Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def fresh(self, collection: str) -> str:
        """Empty Kinto, take every fault away, and make this collection; its path (``/buckets/shop/collections/…``)."""
        self.calm()
        self.call("POST", "/__flush__")
        self.call("PUT", f"/buckets/{BUCKET}", {})
        return self.add(collection)

    def add(self, collection: str) -> str:
        """Make another collection; its path."""
        path = f"/buckets/{BUCKET}/collections/{collection}"
        self.call("PUT", path, {})
        return path

    def put(self, collection: str, record_id: str, **fields: Any) -> dict[str, Any]:
        """Write a record whole, as somebody else would."""
        path = f"/buckets/{BUCKET}/collections/{collection}/records/{record_id}"
        data: dict[str, Any] = self.call("PUT", path, {"data": fields})["data"]
        return data

    def patch(self, collection: str, record_id: str, **fields: Any) -> dict[str, Any]:
        """Change some fields of a record, as somebody else would."""
        path = f"/buckets/{BUCKET}/collections/{collection}/records/{record_id}"
        data: dict[str, Any] = self.call("PATCH", path, {"data": fields})["data"]
        return data

    def delete(self, collection: str, record_id: str) -> None:
        """Delete a record, as somebody else would."""
        self.call("DELETE", f"/buckets/{BUCKET}/collections/{collection}/records/{record_id}")

    def records(self, collection: str) -> dict[str, dict[str, Any]]:
        """Every live record, by its id."""
        found = self.call("GET", f"/buckets/{BUCKET}/collections/{collection}/records?_limit=10000")["data"]
        return {record["id"]: record for record in found}

    def limit(self, seconds: int) -> None:
        """Have nginx answer 429 to everything, with ``Retry-After`` one of `LIMITS_S`, until `calm`."""
        assert seconds in LIMITS_S
        (self.directory / f"limited-{seconds}").touch()

    def refuse(self, status: int, retry_after: str) -> None:
        """Have everything that comes through nginx answered with this status and this ``Retry-After``, until `calm`."""
        self._put("refuse", f"{status} {retry_after}")

    def lose_answers(self, times: int) -> None:
        """Have the next ``times`` writes through nginx done, and their connections closed without an answer."""
        for _ in range(times):
            self._put(f"lose-{uuid.uuid4()}", "")

    def fail_writes(self, times: int) -> None:
        """Have the next ``times`` writes through nginx answered 503, and not done."""
        for _ in range(times):
            self._put(f"fail-{uuid.uuid4()}", "")

    def choke_on(self, text: str) -> None:
        """Have every write through nginx with this text in it answered 500, and not done, until `calm`."""
        self._put("poison", text)

    def faults_to_come(self) -> int:
        """How many writes are still to fail or to lose their answers."""
        return len([*self.directory.glob("lose-*"), *self.directory.glob("fail-*")])

    def _put(self, name: str, text: str) -> None:
        # Renamed into its place: a request that came by in between would read an empty file.
        draft = self.directory / "draft"
        draft.write_text(text, encoding="ascii")
        draft.rename(self.directory / name)

    def flaky(self) -> None:
        """Have nginx answer 503 to a tenth of the requests, until `calm`."""
        (self.directory / "flaky").touch()

    def calm(self) -> None:
        """No faults any more."""
        left = [path.name for what in ("lose", "fail") for path in self.directory.glob(f"{what}-*")]
        for name in ("flaky", "refuse", "poison", *(f"limited-{seconds}" for seconds in LIMITS_S), *left):
            (self.directory / name).unlink(missing_ok=True)

    def requests(self) -> list[Seen]:
        """What came in through nginx since `forget_requests`, in the order of the answers."""
        self._settle()
        lines = (self.directory / "access.log").read_text().splitlines()
        found = [one for one in map(json.loads, lines) if not one["path"].startswith("/settle?")]
        return [
            Seen(one["ended"] - one["took"], one["status"], one["method"], one["path"], one["server"]) for one in found
        ]

    def forget_requests(self) -> None:
        """Begin the log anew."""
        self._settle()
        with open(self.directory / "access.log", "r+b") as log:
            log.truncate()

    def _settle(self) -> None:
        """Wait until nginx has logged whatever it has answered: it does so after the answer, in order."""
        mark = f"/settle?{uuid.uuid4()}"
        urllib.request.urlopen(self.url.removesuffix("/v1") + mark, timeout=10).close()
        wait_until(lambda: mark in (self.directory / "access.log").read_text())

    def start(self) -> None:
        """Start Kinto (its records are gone), if it does not run."""
        if self._kinto is None:
            port = self.direct_url.rsplit(":", 1)[1].split("/")[0]
            with open(self.directory / "kinto.log", "ab") as log:
                self._kinto = subprocess.Popen(
                    [sys.executable, "-c", _SERVE, self._settings, port, self.directory],
                    cwd=PROJECT,
                    stdout=log,
                    stderr=log,
                )
            wait_until(lambda: _answers(self.direct_url), 20)

    def stop(self) -> None:
        """Stop Kinto; nginx answers 502 until `start`."""
        if self._kinto is not None:
            self._kinto.terminate()
            try:
                self._kinto.wait(10)
            except subprocess.TimeoutExpired:
                self._kinto.kill()
                self._kinto.wait()
            self._kinto = None


@contextmanager
def kinto_server() -> Iterator[KintoServer]:
    """Kinto and nginx, running while the block does."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-kinto-")))
        ports = _free_ports(4)
        (directory / "nginx.conf").write_text(_configuration(directory, *ports))
        urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        server = KintoServer(urls[0], urls[1], urls[2], urls[3], directory, json.dumps(_SETTINGS))
        stack.callback(server.stop)
        server.start()
        program = nginx_program()
        nginx = subprocess.Popen(
            [program.path, "-p", directory, "-c", directory / "nginx.conf", "-e", "stderr"], env=program.environment()
        )
        stack.callback(_end, nginx)
        wait_until(lambda: _answers(server.url), 20)
        yield server


@pytest.fixture(scope="session")
def kinto_process() -> Iterator[KintoServer]:
    """Kinto behind nginx, once a session."""
    with kinto_server() as server:
        yield server


@pytest.fixture
def kinto(kinto_process: KintoServer) -> KintoServer:
    """Kinto behind nginx: empty but for the collection ``items``, without faults, with an empty log."""
    kinto_process.start()
    kinto_process.fresh("items")
    kinto_process.forget_requests()
    return kinto_process


def _configuration(directory: Path, front: int, limited: int, other: int, kinto: int) -> str:
    flags = "\n        ".join(
        f"if (-f {directory}/limited-{seconds}) {{ set $after {seconds}; }}" for seconds in LIMITS_S
    )
    common = {"directory": directory, "flags": flags, "lost": LOST, "through": "1"}
    limit_req = "limit_req zone=limited burst=5 nodelay; limit_req_status 429;"
    servers = _SERVER.format(port=front, name="front", limit_req="", **common)
    servers += _SERVER.format(port=limited, name="limited", limit_req=limit_req, **common)
    # A header without a value is not sent.
    calm = {**common, "flags": "", "directory": directory / "nowhere", "through": '""'}
    servers += _SERVER.format(port=other, name="other", limit_req="", **calm)
    # Started by root, the workers would be another user's, who may not see the directory.
    user = "user root;" if os.geteuid() == 0 else ""
    return _NGINX.format(directory=directory, kinto=kinto, servers=servers, user=user)


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port(taken=ports))
    return sorted(ports)


def _answers(url: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{url}/", timeout=2).close()
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    with kinto_server() as served:
        served.fresh("items")
        print(f"{served.url}/buckets/{BUCKET}/collections/items, user {USER}, password {PASSWORD}", flush=True)
        threading.Event().wait()
