"""Locks that are held, and rate limits with what is left."""

from __future__ import annotations

from locks import HeldLock, LocksError, list_locks
from locks.limit_list import LimitedKey, list_limits
from ops.errors import UsageError
from ops.pages.confirm import ConfirmPage
from ops.pages.handler import Page, shared
from ops.release import release
from runstate.errors import NotFound
from tasks import clients


class LocksPage(Page):
    """Who holds what, for how long."""

    tab = "locks"

    async def get(self) -> None:
        error = ""
        held: list[HeldLock] = []
        limits: list[LimitedKey] = []
        try:
            held = await shared().get("locks", _held, fresh_s=1, stale_s=3)
            limits = await shared().get("limits", _limits, fresh_s=1, stale_s=3)
        except LocksError as unavailable:
            error = str(unavailable)
        self.page("locks.html", parts={"locks": "locks_rows.html"}, held=held, limits=limits, error=error)


class ReleasePage(ConfirmPage):
    """Take a lock from its holder: an admin's, with a reason, and "force" said."""

    tab = "locks"

    async def get(self) -> None:
        self.need("release lock")
        await self._form(self.query("key"), self.query("token"), "")

    async def post(self) -> None:
        self.need("release lock")
        key, token = self.field("key"), self.field("token")
        lock = await self._lock(key, token)

        async def again(error: str) -> None:
            await self._form(key, token, error)

        def work() -> bool:
            actor = self.actor()
            if self.field("force") != "1":
                raise UsageError("Say that you mean it: its holder may be at work")
            return release(key, token, lock.holder.name, actor)

        done = await self.attempt(work, again)
        if done is not None:
            self.say("The lock is free." if done else "Nothing was done: the lock was freed or taken anew meanwhile.")
            self.redirect(self.link("locks"), status=303)

    async def _lock(self, key: str, token: str) -> HeldLock:
        held = await self.off_loop(_held)
        for lock in held:
            if lock.key == key and lock.holder.token == token:
                return lock
        raise NotFound("This lock is not held any more, or held anew by somebody else: look at the list again")

    async def _form(self, key: str, token: str, error: str) -> None:
        self.page("lock_release.html", lock=await self._lock(key, token), error=error, reason=self.field("reason"))


def _held() -> list[HeldLock]:
    return list_locks(clients.redis())


def _limits() -> list[LimitedKey]:
    return list_limits(clients.redis())
