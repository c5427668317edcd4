"""Pause, resume, cancel, recover a run, or have its rest done: what will happen first, then the act."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ops.errors import UsageError
from ops.pages.confirm import ConfirmPage
from ops.pages.handler import asked
from ops.pages.run_consequences import consequences, moot
from ops.pages.run_facts import read_facts
from ops.parsers import rate
from runstate.audit import Actor
from tasks import control

_SIMPLE: dict[str, Callable[[str, Actor], Any]] = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
}


class RunActionPage(ConfirmPage):
    """One action on one run."""

    tab = "runs"

    async def get(self, run_id: str, action: str) -> None:
        self.need(action)
        await self._form(run_id, action, "")

    async def post(self, run_id: str, action: str) -> None:
        self.need(action)
        force, over_newer = self.field("force") == "1", self.field("over_newer") == "1"
        if force:
            self.need("recover --force")
        if over_newer:
            self.need("replay --over-newer")
        try:
            work = self._work(run_id, action, self.actor(), force=force, over_newer=over_newer)
        except UsageError as error:
            self.set_status(400)
            await self._form(run_id, action, str(error))
            return
        done = await self.attempt(work, lambda error: self._form(run_id, action, error))
        if done is None:
            return
        if isinstance(done, control.Replay):
            if done.refused:
                self.set_status(409)
                await self._form(run_id, action, done.refused)
                return
            self.say(f"Run {done.replay_run_id} does the rest of run {run_id}.")
            self.redirect(self.link("run", done.replay_run_id), status=303)
            return
        self.say(f"Done: the run is {done.status.value} now. It stands in the audit log.")
        self.redirect(self.link("run", run_id), status=303)

    def _work(self, run_id: str, action: str, actor: Actor, *, force: bool, over_newer: bool) -> Callable[[], Any]:
        if action in _SIMPLE:
            return lambda: _SIMPLE[action](run_id, actor)
        if action == "retry":
            per_s = parse_rate(self.field("per_second"))
            return lambda: control.retry_rest(run_id, actor, over_newer=over_newer, per_s=per_s)
        how = self.field("how")
        if how not in ("resume", "fail"):
            raise UsageError("Choose whether the run is to be resumed or ended")
        seen = parse_moment(self.field("heartbeat"))
        return lambda: control.recover(run_id, actor, resume=how == "resume", heartbeat=seen, force=force)

    async def _form(self, run_id: str, action: str, error: str) -> None:
        facts = await self.off_loop(asked(lambda c: read_facts(c, run_id)))
        run = facts.run
        # What the operator saw on the run's page, or in the form before: never silently what stands there now.
        seen = (
            self.field("heartbeat")
            or self.query("heartbeat")
            or (run.heartbeat_at.isoformat() if run.heartbeat_at else "")
        )
        self.page(
            "run_act.html",
            run=run,
            facts=facts,
            action=action,
            consequences=consequences(action, facts),
            moot=moot(action, facts),
            error=error,
            seen=seen,
            reason=self.field("reason"),
            how=self.field("how"),
        )


def parse_rate(text: str) -> float | None:
    """A number of jobs a second, or none.  Raises `UsageError`."""
    if not text:
        return None
    try:
        return float(rate(text))
    except (ValueError, ArgumentTypeError) as error:
        raise UsageError(f"{text!r} is no rate: give jobs a second, for example 5 or 0.5") from error


def parse_moment(text: str) -> datetime | None:
    """The heartbeat that the operator saw; empty for none."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise UsageError("The form lost the heartbeat that you saw: go back to the run and look again") from None
