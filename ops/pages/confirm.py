"""Doing what a form asks for: the right first, then a reason, then the act; a refusal is shown on the form, not lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ops.errors import UsageError
from ops.pages.handler import Page, shared
from runstate.audit import Actor
from runstate.errors import DatabaseUnavailable, NotFound, RunstateError
from tasks.errors import TasksError

T = TypeVar("T")


class ConfirmPage(Page):
    """A page that says what will happen and asks for a reason.  GET shows it, POST does it."""

    def field(self, name: str) -> str:
        """A field of the form."""
        return str(self.get_body_argument(name, "")).strip()

    def actor(self) -> Actor:
        """Who is logged in, with the reason from the form.  Raises `UsageError` without one."""
        reason = self.field("reason")
        if not reason:
            raise UsageError("Say why: the reason stands in the audit log")
        return Actor(self.user, reason[:2000])

    async def act(self, work: Callable[[], T]) -> T:
        """Do it off the loop; whatever was read before does not count any more."""
        try:
            return await self.off_loop(work)
        finally:
            shared().forget()

    async def attempt(self, work: Callable[[], T], again: Callable[[str], Any]) -> T | None:
        """Do it, or show the form ``again`` with what speaks against it (status 409, or 400 for a form to be mended)."""
        try:
            return await self.act(work)
        except UsageError as error:
            self.set_status(400)
            await again(str(error))
        except (DatabaseUnavailable, NotFound):
            raise
        except (RunstateError, TasksError) as error:
            self.set_status(409)
            await again(str(error))
        return None
