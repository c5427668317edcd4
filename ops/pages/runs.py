"""The list of runs: every filter stands in the address, so that a view can be sent to somebody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from ops.errors import UsageError
from ops.pages.handler import Page, asked, shared
from runstate import documents, pages
from runstate.pages import RunRow
from runstate.run_order import Order, Place, RunFilter
from runstate.statuses import ACTIVE, RunStatus
from tasks.registry import kinds

MOST = 50
GROUPS = {"active": [s.value for s in ACTIVE], "open": ["requested", *(s.value for s in ACTIVE)]}
STATUSES = (*GROUPS, *(status.value for status in RunStatus))
SORTS = {"newest": "newest first", "oldest": "oldest first", "finished": "last finished first"}
TIMES = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


class RunsPage(Page):
    """Runs that match, a page at a time."""

    tab = "runs"

    async def get(self) -> None:
        given = {name: self.query(name) for name in ("kind", "status", "key", "time", "text", "sort", "after")}
        which, order, after = _wanted(given)
        key = ("runs", tuple(given.items()))
        found: list[RunRow] = await shared().get(
            key,
            asked(lambda c: pages.runs_page(c, which, order=order, after=after, most=MOST + 1)),
            # Whoever opens the list sees it as it is; renewing keeps the pace of the page's script.
            fresh_s=4.4 if self.is_live else 1.5,
            stale_s=10 if self.is_live else 2,
        )
        more = found[MOST - 1] if len(found) > MOST else None
        self.page(
            "runs.html",
            parts={"runs": "runs_rows.html"},
            found=found[:MOST],
            given=given,
            next_page=None if more is None else _place(more, order),
            kinds=sorted(kinds()),
            statuses=STATUSES,
            sorts=SORTS,
            times=[*TIMES, "all"],
            searched=pages.SEARCHED,
        )


def _wanted(given: dict[str, str]) -> tuple[RunFilter, Order, Place | None]:
    status, sort, time = given["status"], given["sort"] or "newest", given["time"]
    if status and status not in STATUSES:
        raise UsageError(f"status {status}: one of {', '.join(STATUSES)}")
    if sort not in SORTS:
        raise UsageError(f"sort {sort}: one of {', '.join(SORTS)}")
    if time and time != "all" and time not in TIMES:
        raise UsageError(f"time {time}: one of {', '.join(TIMES)}")
    kind = given["kind"] or None
    which = RunFilter(
        statuses=GROUPS.get(status, [status] if status else []),
        kind=kind,
        # The index is on the hash of kind and key.
        key_hashes=[documents.admission_hash(name, given["key"]) for name in ([kind] if kind else sorted(kinds()))]
        if given["key"]
        else [],
        since=datetime.now(UTC).replace(tzinfo=None) - TIMES[time] if time in TIMES else None,
        words=given["text"][:200],
    )
    return which, cast(Order, sort), _parse_place(given["after"])


def _place(row: RunRow, order: Order) -> str:
    at = row.finished_at if order == "finished" else row.requested_at
    assert at is not None
    return f"{at.isoformat(timespec='microseconds')}~{row.run_id}"


def _parse_place(text: str) -> Place | None:
    if not text:
        return None
    at, _, run_id = text.partition("~")
    try:
        return Place(datetime.fromisoformat(at).replace(tzinfo=None), run_id)
    except ValueError:
        raise UsageError("the address of this page was cut: go back to the first page of the list") from None


def eta_s(run: Any, jobs_per_s: float | None) -> float | None:
    """Seconds until the last open job ends at this pace; None where nothing is to go by."""
    return run.jobs_open / jobs_per_s if jobs_per_s and run.status is RunStatus.RUNNING else None
