"""Who asks, what this user may do, and that the request is not forged: asked of every page and every action."""

from __future__ import annotations

from urllib.parse import urlencode

from flower.views import BaseHandler
from tornado.web import HTTPError

from ops.pages import csrf
from ops.pages.identity import user_of
from ops.pages.install import page_settings
from ops.pages.roles import NEEDED, Role

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class Visitor(BaseHandler):  # type: ignore[misc]
    """Somebody who is logged in and has a role; without either nothing is shown and nothing done."""

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
