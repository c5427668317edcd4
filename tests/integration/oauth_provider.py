"""An OAuth provider on loopback, as Okta's looks to Flower: authorize, token, userinfo."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT, SECRET = "flower", "s3cret"


class Provider:
    """``email`` is whoever sits at the browser; ``verified`` whether the provider vouches for the address."""

    def __init__(self) -> None:
        self.email = ""
        self.verified = True
        self._codes: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                if path == "/v1/authorize":
                    self._redirect(provider.authorized(query))
                else:
                    token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                    self._say({"email": provider._tokens[token], "email_verified": provider.verified})

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                assert (form["client_id"], form["client_secret"]) == ([CLIENT], [SECRET])
                token = secrets.token_hex(8)
                # A code is good for one token.
                provider._tokens[token] = provider._codes.pop(form["code"][0])
                self._say({"access_token": token})

            def _redirect(self, location: str) -> None:
                self.send_response(302)
                self.send_header("Location", location)
                self.end_headers()

            def _say(self, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def authorized(self, query: dict[str, list[str]]) -> str:
        """Where a browser is sent once its user has agreed."""
        assert query["client_id"] == [CLIENT]
        code = secrets.token_hex(8)
        self._codes[code] = self.email
        return f"{query['redirect_uri'][0]}?{urlencode({'code': code, 'state': query['state'][0]})}"


@contextmanager
def oauth_provider() -> Iterator[Provider]:
    """A provider while it is needed."""
    provider = Provider()
    thread = threading.Thread(target=provider.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join(5)
