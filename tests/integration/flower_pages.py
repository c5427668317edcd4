"""The real Flower app with the pages, in this process on a loop of its own, and browsers without a screen to ask it with."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from flower.app import Flower
from flower.urls import settings as flower_settings
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.options import options

from ops.pages import install
from ops.pages.handler import shared
from ops.pages.shared import Shared
from tasks.celery import app as celery_app

USERS = {"ada": "admin", "olga": "operator", "vic": "viewer", "nobody": ""}
_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')


@dataclass(frozen=True)
class Site:
    """Where it listens, and what its browsers share."""

    url: str
    shared: Shared

    def browser(self, user: str) -> Browser:
        """A browser in which this user is logged in."""
        session = requests.Session()
        session.auth = (user, "pw")
        return Browser(self.url, session)


@dataclass(frozen=True)
class Browser:
    """Follows no redirect, keeps cookies, and sends what a browser sends with a form of the same site."""

    url: str
    session: requests.Session

    def get(self, path: str, **headers: str) -> requests.Response:
        """Ask for a page."""
        return self.session.get(self.url + path, headers=headers, allow_redirects=False, timeout=20)

    def token(self, path: str = "/holdfast/dead-letters/discard?id=1") -> str:
        """The token in the form at ``path``."""
        found = _TOKEN.search(self.get(path).text)
        return found.group(1) if found else ""

    def post(
        self, path: str, form_at: str | None = None, *, origin: str | None = None, **fields: Any
    ) -> requests.Response:
        """Send a form with the token of the form at ``form_at`` (default: the same address)."""
        fields = {"csrf_token": self.token(form_at or path), **fields}
        headers = {"Origin": origin or self.url.rsplit("/", 0)[0].split("/prefix")[0]}
        return self.session.post(self.url + path, data=fields, headers=headers, allow_redirects=False, timeout=20)


@contextmanager
def flower_site(
    *,
    roles: str = "olga=operator,vic=viewer",
    metrics_token: str | None = None,
    port: int = 0,
    oauth: dict[str, str] | None = None,
    **changed: Any,
) -> Iterator[Site]:
    """Flower with users of each role; ``changed`` are options of Flower's, ``oauth`` its key, secret and redirect."""
    install(roles=roles, admin="ada", metrics_token=metrics_token)
    given = {"basic_auth": [f"{user}:pw" for user in USERS], "read_only": False, "url_prefix": "", **changed}
    before = {name: getattr(options, name) for name in given}
    for name, value in given.items():
        setattr(options, name, value)
    started = threading.Event()
    made: dict[str, Any] = {}

    async def serve() -> None:
        made["loop"], made["stop"] = asyncio.get_running_loop(), asyncio.Event()
        from tornado.ioloop import IOLoop

        flower = Flower(
            capp=celery_app,
            options=options,
            io_loop=IOLoop.current(),
            **flower_settings,
            **({"oauth": oauth} if oauth else {}),
        )
        server = HTTPServer(flower)
        sockets = bind_sockets(port, "127.0.0.1")
        server.add_sockets(sockets)
        made["port"], made["shared"] = sockets[0].getsockname()[1], shared()
        started.set()
        await made["stop"].wait()
        server.stop()
        await server.close_all_connections()
        flower.executor.shutdown(wait=False)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(20), "Flower did not start"
    try:
        prefix = f"/{given['url_prefix']}" if given["url_prefix"] else ""
        yield Site(f"http://127.0.0.1:{made['port']}{prefix}", made["shared"])
    finally:
        made["loop"].call_soon_threadsafe(made["stop"].set)
        thread.join(20)
        for name, value in before.items():
            setattr(options, name, value)
