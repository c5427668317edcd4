"""Who is logged in, by name: Flower itself only says that somebody is."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from typing import Any

from tornado.web import RequestHandler


def user_of(handler: RequestHandler, admitted: Any) -> str | None:
    """The name of whom Flower has admitted: the user of basic auth, or the e-mail address that OAuth told.

    None where Flower asks for neither, whatever it says: without a name nobody sees a page or acts.
    """
    options = handler.application.options  # type: ignore[attr-defined]
    if not admitted or not (options.basic_auth or options.auth):
        return None
    if isinstance(admitted, str):
        return admitted
    # Checked by Flower against its list just before.
    scheme, _, credentials = handler.request.headers.get("Authorization", "").partition(" ")
    try:
        name = b64decode(credentials.strip()).decode().partition(":")[0]
    except (Error, UnicodeDecodeError):
        return None
    return name if scheme == "Basic" and name else None
