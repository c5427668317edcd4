"""Pausing a rate limit's key, and letting it go on."""

from __future__ import annotations

from argparse import ArgumentTypeError

from locks.limit_list import LimitedKey
from ops.errors import UsageError
from ops.limits import pause_key, resume_key
from ops.pages.confirm import ConfirmPage
from ops.parsers import seconds


class LimitPage(ConfirmPage):
    """One action on one key."""

    tab = "locks"

    async def get(self, action: str) -> None:
        self.need(f"{action} limit")
        await self._form(action, self.query("key"), "")

    async def post(self, action: str) -> None:
        self.need(f"{action} limit")
        key = self.field("key")

        async def again(error: str) -> None:
            await self._form(action, key, error)

        def work() -> LimitedKey:
            actor = self.actor()
            return pause_key(key, self._for_s(), actor) if action == "pause" else resume_key(key, actor)

        if await self.attempt(work, again) is not None:
            self.say(f"Done: {key} is {'paused' if action == 'pause' else 'open'}. It stands in the audit log.")
            self.redirect(self.link("locks"), status=303)

    def _for_s(self) -> float:
        try:
            return seconds(self.field("for_s"))
        except (ValueError, ArgumentTypeError):
            raise UsageError("Give a number of seconds above zero") from None

    async def _form(self, action: str, key: str, error: str) -> None:
        if not key:
            raise UsageError("Name a key: the list of limits has the keys that are in use")
        self.page(
            "limit_act.html",
            action=action,
            key=key,
            error=error,
            reason=self.field("reason"),
            for_s=self.field("for_s"),
        )
