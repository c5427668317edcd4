"""The audit log: who did what, why, and what it was before and after."""

from __future__ import annotations

from ops.pages.handler import Page, asked, shared
from runstate import pages

MOST = 50


class AuditPage(Page):
    """Entries that match, the newest first."""

    tab = "audit"

    async def get(self) -> None:
        given = {name: self.query(name) for name in ("actor", "subject", "action", "before")}
        before = int(given["before"]) if given["before"].isdecimal() else None
        found = await shared().get(
            ("audit", *given.values()),
            asked(
                lambda c: pages.audit_page(
                    c,
                    actor=given["actor"],
                    subject=given["subject"],
                    action=given["action"],
                    before_id=before,
                    most=MOST + 1,
                )
            ),
            fresh_s=1,
            stale_s=5,
        )
        next_page = found[MOST - 1].id if len(found) > MOST else None
        self.page("audit.html", found=found[:MOST], given=given, next_page=next_page, subject_link=self._subject_link)

    def _subject_link(self, subject: str) -> str:
        kind, _, number = subject.partition(":")
        if kind == "dead_letter" and number.isdecimal():
            return self.link("letter", number)
        return self.link("run", subject) if len(subject) == 36 and not set(subject) - set("0123456789abcdef-") else ""
