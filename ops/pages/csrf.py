"""Against forged requests: a token in each form that fits a cookie of this browser and the user who is logged in.

Basic auth and a login cookie are sent by browsers whoever wrote the form.  The cookie is SameSite=Strict and HttpOnly; the
token is its HMAC with the user's name, so that neither another site nor another user can make one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

COOKIE = "holdfast_csrf"
FIELD = "csrf_token"


def new_nonce() -> str:
    """The value of a new cookie."""
    return secrets.token_urlsafe(24)


def token(secret: str | bytes, nonce: str, user: str) -> str:
    """What a form must carry."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, f"{nonce}\0{user}".encode(), hashlib.sha256).hexdigest()


def is_foreign(request: HTTPServerRequest) -> bool:
    """Whether the request says of itself that another site made it (Fetch Metadata, or the Origin header)."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and (origin == "null" or urlsplit(origin).netloc != request.host)


def fits(secret: str | bytes, nonce: str | None, user: str, given: str | None) -> bool:
    """Whether the token that came with a request is ours."""
    return bool(nonce and given) and hmac.compare_digest(token(secret, str(nonce), user), str(given))
