"""What every page is: reads off the event loop, an answer for people or for the page's script, errors that say what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from ops.errors import UsageError
from ops.pages import markup, show
from ops.pages.charts import bars, meter, wait_bar
from ops.pages.course_chart import course
from ops.pages.failures import told
from ops.pages.reading import POOL, asked, shared
from ops.pages.visitor import Visitor
from runstate.errors import NotFound

T = TypeVar("T")

__all__ = ["POOL", "Page", "asked", "shared"]


class Page(Visitor):
    """A page; subclasses say which `tab` is theirs and what they show."""

    tab = ""

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
            "cut": markup.cut,
            "prose": markup.prose,
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
        return markup.linked(text, lambda run_id: self.link("run", run_id), most)

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
        if self.request.method == "POST" and status_code >= 500:
            message += " Look whether it was done before you do it again; going back, you find what you typed."
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
    *("show", "said", "document", "line", "changed"),
    *("moment", "clock", "ago", "lasting", "number", "figure", "pace", "tone"),
)
