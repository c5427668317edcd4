"""Who may read numbers without a browser: Prometheus, by a token of its own, or whoever may see the pages."""

from __future__ import annotations

import hmac
from typing import Any

from tornado.web import HTTPError, RequestHandler

from ops.errors import UsageError
from ops.pages.identity import user_of
from ops.pages.install import page_settings
from ops.pages.roles import Role

SHORTEST = 16


def parse_token(text: str | None) -> str | None:
    """``FLOWER_METRICS_TOKEN``; none where it is empty.  Raises `UsageError` for one that can be guessed."""
    if text and len(text) < SHORTEST:
        raise UsageError(
            f"FLOWER_METRICS_TOKEN has {len(text)} characters: take {SHORTEST} or more that nobody can guess"
        )
    return text or None


def brings_token(handler: RequestHandler) -> bool:
    """Whether the request carries the token, as ``Authorization: Bearer TOKEN``."""
    token = page_settings(handler.settings).metrics_token
    given = handler.request.headers.get("Authorization", "")
    return token is not None and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def closed(handler: Any) -> Any:
    """Flower's handler of its metrics, which asks nobody who he is, for those who may."""

    class Closed(handler):  # type: ignore[misc]
        async def prepare(self) -> None:
            super().prepare()
            # Before anything asks who is logged in: Flower's own check refuses what is no password.
            if brings_token(self):
                return
            user = user_of(self, self.current_user)
            if user is None or page_settings(self.settings).roles.of(user) is Role.NONE:
                raise HTTPError(
                    403, "These numbers need a login with a role, or FLOWER_METRICS_TOKEN: see docs/pages.md"
                )

    Closed.__name__ = handler.__name__
    return Closed
