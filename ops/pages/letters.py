"""Dead letters: by trouble, and one by one."""

from __future__ import annotations

from dataclasses import replace

from ops.errors import UsageError
from ops.pages.handler import Page, asked, shared
from runstate import letters, pages
from runstate.letters import Filter
from tasks.registry import kinds

MOST = 50
GROUPS_SHOWN, MOST_GROUPS = 10, 200
STATUSES = ("dead", "replaying", "replayed", "discarded", "all")
FILTERS = ("kind", "error_class", "fingerprint", "run")


class LettersPage(Page):
    """Troubles first; the letters of one, or of all, below."""

    tab = "letters"

    async def get(self) -> None:
        given = {name: self.query(name) for name in (*FILTERS, "status", "before")}
        status = given["status"] or "dead"
        if status not in STATUSES:
            raise UsageError(f"status {status}: one of {', '.join(STATUSES)}")
        which = replace(filter_of(given), status=None if status == "all" else status)
        before = int(given["before"]) if given["before"].isdecimal() else None
        # In step with the page's script, which renews the groups.
        fresh_s = 4.4 if self.is_live else 2.0
        groups = await shared().get(
            ("groups", which),
            asked(lambda c: pages.letter_groups(c, which, most=MOST_GROUPS)),
            fresh_s=fresh_s,
            stale_s=10,
        )
        found = await shared().get(
            ("letters", which, before),
            asked(lambda c: pages.letters_page(c, which, before_id=before, most=MOST + 1)),
            fresh_s=fresh_s,
            stale_s=10,
        )
        total = sum(group.count for group in groups)
        if len(groups) == MOST_GROUPS:
            total = await shared().get(
                ("count", which), asked(lambda c: letters.count(c, which)), fresh_s=fresh_s, stale_s=10
            )
        self.page(
            "letters.html",
            parts={"groups": "letters_groups.html"},
            groups=groups if self.query("groups") == "all" else groups[:GROUPS_SHOWN],
            hidden_groups=0 if self.query("groups") == "all" else max(0, len(groups) - GROUPS_SHOWN),
            found=found[:MOST],
            next_page=found[MOST - 1].id if len(found) > MOST else None,
            total=total,
            given=given,
            status=status,
            statuses=STATUSES,
            kinds=sorted(kinds()),
            filters={name: given[name] for name in FILTERS},
        )


def filter_of(given: dict[str, str]) -> Filter:
    """The filter that a form or an address means: dead letters that match all that is given."""
    return Filter(
        run_id=given.get("run") or None,
        kind=given.get("kind") or None,
        error_class=given.get("error_class") or None,
        fingerprint=given.get("fingerprint") or None,
    )
