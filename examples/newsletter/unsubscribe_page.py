"""The page behind the unsubscribe links, as a WSGI application: ``python -m examples.newsletter.unsubscribe_page [PORT]``.

A GET shows a button and changes nothing, because scanners open every link of a message; the button posts.  A mail client's
one-click POST (RFC 8058) is answered without any page.  Both carry the token in the path, and no session or cookie is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from sqlalchemy.exc import SQLAlchemyError

from runstate.transaction import in_transaction
from tasks import clients
from tasks.email.errors import BadToken
from tasks.email.unsubscribe import the_unsubscriber, unsubscribe

MAX_BODY = 10_000
PAGE = "<!doctype html><meta charset='utf-8'><meta name='robots' content='noindex'><title>Unsubscribe</title>{}\n"
BUTTON = "<form method='post'><button>Unsubscribe</button></form>"
HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    # The address of this page must not go on to others.
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI: ``/any/prefix/TOKEN``."""
    status, text = answer(environ["REQUEST_METHOD"], environ["PATH_INFO"].rpartition("/")[2], _form(environ))
    start_response(status, HEADERS)
    return [PAGE.format(text).encode()]


def answer(method: str, token: str, form: dict[str, list[str]]) -> tuple[str, str]:
    """Status and text; the same for everybody whose link is no link of ours."""
    try:
        if method == "GET" or method == "HEAD":
            the_unsubscriber().open(token)
            return "200 OK", BUTTON
        if method != "POST":
            return "405 Method Not Allowed", "Open the link, or post to it."
        in_transaction(clients.engine(), lambda connection: unsubscribe(connection, token))
    except BadToken as error:
        return "404 Not Found", str(error)
    except SQLAlchemyError:
        # A mail client that posted tries again; an answer of 200 would be a lie.
        return "503 Service Unavailable", "Please try again in a minute."
    return "200 OK", "" if form.get("List-Unsubscribe") == ["One-Click"] else "You have been unsubscribed."


def _form(environ: dict[str, Any]) -> dict[str, list[str]]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if environ["REQUEST_METHOD"] != "POST" or not 0 < length <= MAX_BODY:
        return {}
    return parse_qs(environ["wsgi.input"].read(length).decode("utf-8", "replace"))


if __name__ == "__main__":
    port = int(sys.argv[1]) if sys.argv[1:] else 8000
    with make_server("127.0.0.1", port, app) as server:
        server.serve_forever()
