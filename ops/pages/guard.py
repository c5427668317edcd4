"""Flower's own buttons and numbers, under our roles: without this every viewer could stop the workers, and anybody count."""

from __future__ import annotations

from typing import Any

from tornado.routing import URLSpec
from tornado.web import HTTPError, RequestHandler

from ops.pages.handler import POOL, asked
from ops.pages.identity import user_of
from ops.pages.install import page_settings
from ops.pages.roles import NEEDED
from ops.pages.scraper import closed
from runstate import audit
from runstate.audit import Actor

_ADMIN = ("/api/worker/shutdown", "/api/task/apply", "/api/task/async-apply", "/api/task/send-task")
"""What ends workers or sends tasks of any kind with any arguments."""
_NO_REASON = "a button or the API of Flower, which ask for none"


def guarded(spec: Any) -> Any:
    """Flower's handler, asking for a role, and writing the audit log before it changes something."""
    pattern, handler = (spec.regex.pattern, spec.handler_class) if isinstance(spec, URLSpec) else (spec[0], spec[1])
    if pattern.rstrip("$") == "/metrics" and isinstance(spec, tuple):
        return (pattern, closed(handler), *spec[2:])
    if not pattern.startswith("/api/") or handler.post is RequestHandler.post:
        return spec
    action = "flower admin" if pattern.startswith(_ADMIN) else "flower"
    return (pattern, _with_role(handler, action), *spec[2:]) if isinstance(spec, tuple) else spec


def _with_role(handler: Any, action: str) -> Any:
    class Guarded(handler):  # type: ignore[misc]
        async def prepare(self) -> None:
            super().prepare()
            if self.request.method != "POST":
                return
            user = user_of(self, self.current_user)
            role = page_settings(self.settings).roles.of(user) if user else None
            if user is None or role is None or role < NEEDED[action]:
                raise HTTPError(
                    403, f"{user or 'somebody unknown'} may not do this: it takes {NEEDED[action].name.lower()}"
                )
            if self.application.options.read_only:
                raise HTTPError(403, "Flower was started with --read-only")
            what = self.request.path.partition("/api/")[2]
            entry = asked(lambda c: audit.write(c, Actor(user, _NO_REASON), "flower", what[:191], {}, {}))
            # Before the action: what is not in the log has not been done.
            await self.application.io_loop.run_in_executor(POOL, entry)

        def write_error(self, status_code: int, **options: Any) -> None:
            if status_code == 401 and self.application.options.basic_auth:
                # Flower's API does not ask.  A browser whose first page was not "/" sends a password here only when asked, and
                # Flower's own buttons would do nothing.
                self.set_header("WWW-Authenticate", 'Basic realm="flower"')
            super().write_error(status_code, **options)

    Guarded.__name__ = handler.__name__
    return Guarded
