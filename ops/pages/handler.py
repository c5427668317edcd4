"""What every page is: somebody who is logged in, a role that suffices, a strict policy, reads off the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from flower.views import BaseHandler
from tornado.web import HTTPError

from ops.errors import UsageError
from ops.pages import csrf, show
from ops.pages.charts import bars, meter, wait_bar
from ops.pages.course_chart import course
from ops.pages.failures import told
from ops.pages.identity import user_of
from ops.pages.install import page_settings
from ops.pages.reading import POOL, asked, shared
from ops.pages.roles import NEEDED, Role
from runstate.errors import NotFound

T = TypeVar("T")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
__all__ = ["POOL", "Page", "asked", "shared"]


class Page(BaseHandler):  # type: ignore[misc]
    """A page; subclasses say which `tab` is theirs and what they show."""

    tab = ""

    def set_default_headers(self) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        admitted: object = self.current_user
        if not admitted:
            if self.application.options.auth and self.request.method in ("GET", "HEAD"):
                self.redirect(f"{self.get_login_url()}?{urlencode({'next': self.request.uri})}")
                return
            raise HTTPError(403, "Nobody is logged in. These pages need basic auth or OAuth: see docs/pages.md")
        if self.role is Role.NONE:
            raise HTTPError(403, f"{self.user} has no role here: an admin gives one with FLOWER_ROLES")

    # -- who ------------------------------------------------------------------------------------------------------------

    def get_current_user(self) -> str | None:
        return user_of(self, super().get_current_user())

    @property
    def user(self) -> str:
        """Who is logged in."""
        return str(self.current_user)

    @property
    def role(self) -> Role:
        """What this user may do."""
        return page_settings(self.settings).roles.of(self.user)

    @property
    def read_only(self) -> bool:
        """Whether Flower was started with ``--read-only``."""
        return bool(self.application.options.read_only)

    def may(self, action: str) -> bool:
        """Whether this user may do it now; pages offer nothing else."""
        return not self.read_only and bool(self.role >= NEEDED[action])

    def need(self, action: str) -> None:
        """Raise 403 unless this user may do it now."""
        if self.read_only:
            raise HTTPError(403, "Flower was started with --read-only: nothing can be changed here")
        if self.role < NEEDED[action]:
            raise HTTPError(
                403, f"{self.user} is {self.role.name.lower()}; to {action} takes {NEEDED[action].name.lower()}"
            )

    # -- forged requests ------------------------------------------------------------------------------------------------

    def check_xsrf_cookie(self) -> None:
        """Tornado asks this before every POST.  Flower's own check lets a request without a token pass under basic auth."""
        if csrf.is_foreign(self.request):
            raise HTTPError(403, "This came from another site, and was not carried out")
        secret = self.settings["cookie_secret"]
        given = self.get_body_argument(csrf.FIELD, None)
        if not csrf.fits(secret, self.get_cookie(csrf.COOKIE), str(self.current_user), given):
            raise HTTPError(403, "This form is too old (Flower was restarted?) or not ours: load its page again")

    def csrf_token(self) -> str:
        """The token for the forms of this answer."""
        nonce = self.get_cookie(csrf.COOKIE)
        if not nonce:
            nonce = csrf.new_nonce()
            self._set_strict(csrf.COOKIE, nonce)
            self.request.cookies[csrf.COOKIE] = nonce
        return str(csrf.token(self.settings["cookie_secret"], nonce, self.user))

    def _set_strict(self, name: str, value: str) -> None:
        secure = self.request.protocol == "https"
        self.set_cookie(name, value, path=self.reverse_url("main"), httponly=True, samesite="Strict", secure=secure)

    # -- reading --------------------------------------------------------------------------------------------------------

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Do it in the pool."""
        return await asyncio.get_running_loop().run_in_executor(POOL, work)

    def query(self, name: str) -> str:
        """An argument of the address, empty if it is not there.  Never escaped here: `show` does, where it is shown."""
        return str(self.get_query_argument(name, "")).strip()

    @property
    def is_live(self) -> bool:
        """Whether the page's script asks for the parts that move."""
        return bool(self.get_query_argument("live", "") == "1")

    # -- answering ------------------------------------------------------------------------------------------------------

    def page(self, template: str, **values: Any) -> None:
        """Answer with a page, or, to its script, with the parts that move, as JSON."""
        if self.is_live:
            parts = values.pop("parts")
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"parts": {name: self._part(part, values) for name, part in parts.items()}}))
            return
        self.render(f"holdfast/{template}", tab=f"holdfast-{self.tab}", flash=self._said(), **values)

    def part(self, name: str) -> Callable[..., str]:
        """A template to be put into another."""
        return lambda **values: self._part(name, values)

    def _part(self, template: str, values: dict[str, Any]) -> str:
        made: bytes = self.render_string(f"holdfast/{template}", **values)
        return made.decode()

    def get_template_namespace(self) -> dict[str, Any]:
        namespace: dict[str, Any] = super().get_template_namespace()
        return namespace | {
            **{name: getattr(show, name) for name in _SHOWN},
            "bars": bars,
            "meter": meter,
            "wait_bar": wait_bar,
            "course": course,
            "linked": self.linked,
            "may": self.may,
            "link": self.link,
            "part": self.part,
            "csrf_token": self.csrf_token,
            "role": self.role.name.lower() if self.current_user else "",
        }

    def link(self, name: str, *args: Any, **query: Any) -> str:
        """The address of a page of ours, with what is not empty of ``query``."""
        given = {key: value for key, value in query.items() if value not in (None, "", (), [])}
        address = self.reverse_url(f"holdfast-{name}", *(str(arg) for arg in args))
        return f"{address}?{urlencode(given, doseq=True)}" if given else str(address)

    def linked(self, text: str | None, most: int | None = None) -> str:
        """Somebody else's text as HTML, without secrets, its run ids as links to their runs."""
        return show.linked(text, lambda run_id: self.link("run", run_id), most)

    def say(self, message: str) -> None:
        """Have the next page say this once."""
        self.set_secure_cookie("holdfast_said", message[:1500], expires_days=None, samesite="Strict")

    def _said(self) -> str:
        said = self.get_secure_cookie("holdfast_said", max_age_days=1)
        if said:
            self.clear_cookie("holdfast_said")
        return said.decode() if said else ""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if status_code == 401:
            super().write_error(status_code, **kwargs)
            return
        status_code, message = told(status_code, error)
        self.set_status(status_code)
        if self.is_live:
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"error": message}))
            return
        if not getattr(self, "_current_user", None):
            self.current_user = None
        self.render("holdfast/error.html", tab="", flash="", status_code=status_code, message=message)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, NotFound | UsageError):
            super().log_exception(typ, value, tb)


_SHOWN = (
    "show",
    "moment",
    "clock",
    "ago",
    "lasting",
    "number",
    "figure",
    "cut",
    "document",
    "line",
    "said",
    "prose",
    "tone",
)
