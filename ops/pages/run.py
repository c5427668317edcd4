"""One run: how it stands, what it did, what it waits for, and what can be done about it."""

from __future__ import annotations

import asyncio

from ops.pages.handler import Page
from ops.pages.reading import asked, shared
from ops.pages.run_facts import Facts, read_facts
from ops.pages.run_log import events
from ops.pages.run_report import Told, read_report
from runstate import queries, run_course
from runstate.run_course import Slot
from tasks.explain import Finding, conclusion, explain

EVERY_S, EVERY_ENDED_S = 2, 30
"""How often a page asks how its run stands; two pages of one run are answered from one look."""
_WHOLE = 36
_PATIENCE_S = 0.06


class RunPage(Page):
    """A run's page; its script asks every two seconds while the run is not at its end."""

    tab = "runs"

    async def get(self, given: str) -> None:
        whole = len(given) == _WHOLE
        run_id = given if whole else await self.off_loop(asked(lambda c: queries.resolve_run_id(c, given)))
        if not whole:
            self.redirect(self.link("run", run_id))
            return
        read = asked(lambda c: read_facts(c, run_id))
        # Whoever opens the page sees how it stands now, for he may act on it; only the renewing is shared.
        facts = await (
            shared().get(("run", run_id), read, fresh_s=0.9 * EVERY_S, stale_s=3 * EVERY_S)
            if self.is_live
            else self.off_loop(read)
        )
        findings, slots, report = await _beside(facts)
        self.page(
            "run.html",
            parts={
                "state": "run_state.html",
                "course": "run_course.html",
                "findings": "run_findings.html",
                "report": "run_report.html",
                "letters": "run_letters.html",
                "hands": "run_hands.html",
                "attempts": "run_attempts.html",
                "log": "run_log.html",
            },
            facts=facts,
            run=facts.run,
            findings=findings,
            concluded=None if findings is None else conclusion(findings),
            slots=slots,
            report=report,
            events=events(facts),
            every_s=EVERY_ENDED_S if facts.run.ended else EVERY_S,
        )


async def _beside(facts: Facts) -> tuple[tuple[Finding, ...] | None, list[Slot] | None, Told | None]:
    """What takes longer, locks, broker, all attempts of the run, its kind's tables: the page does not wait, they follow."""
    run, course = facts.run, facts.course
    # What ended is read once more soon after its end, and then hardly ever.
    fresh_s = 60.0 if run.ended and (run.seen_at - course.end).total_seconds() > 60 else 3.6
    key = (run.run_id, run.status)
    return await asyncio.gather(
        shared().soon(("explain", *key), lambda: explain(run.run_id).findings, fresh_s=3.6, patience_s=_PATIENCE_S),
        shared().soon(
            ("slots", *key),
            asked(lambda c: run_course.slots(c, run.run_id, course.begin, course.end)),
            fresh_s=fresh_s,
            patience_s=_PATIENCE_S,
        ),
        shared().soon(("report", *key), lambda: read_report(run.run_id), fresh_s=fresh_s, patience_s=_PATIENCE_S),
    )
