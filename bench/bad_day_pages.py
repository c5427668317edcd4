"""The bad day, handled with nothing but the pages, in a real Chromium."""

from __future__ import annotations

import re
import socket

import requests
from playwright.sync_api import Page, expect

from bench.bad_day_diary import Diary
from bench.bad_day_trouble import CLOSED, PROVIDER, BadDay
from tests.e2e.browser import Tab, chromium
from tests.e2e.harness import wait_until

PATIENCE_MS = 90_000


class Screen:
    """The browser's window; what is clicked and what is on the page goes into the diary."""

    def __init__(self, tab: Tab, diary: Diary) -> None:
        self.page: Page = tab.page
        self._tab = tab
        self._diary = diary
        self._shots = 0

    def go(self, name: str, path: str) -> None:
        """Click a tab of the navigation."""
        self._diary.does(name)
        self._tab.go(path)

    def click(self, name: str | re.Pattern[str], role: str = "link") -> None:
        """Click a link or a button by what stands on it."""
        target = self.page.get_by_role(role, name=name).first  # type: ignore[arg-type]
        self._diary.does(f"clicks “{' '.join(target.inner_text().split())}”")
        target.click()

    def confirm(self, reason: str, button: str | re.Pattern[str], **fields: str) -> None:
        """Fill in the form that says what will happen, and do it."""
        self.sees(".consequences", most=5)
        for label, value in fields.items():
            self.page.get_by_label(re.compile(label.replace("_", " "))).first.fill(value)
        self.page.get_by_label("Reason").fill(reason)
        self._diary.does(f"reason: {reason}")
        self.click(button, "button")

    def sees(self, selector: str, *, most: int = 12) -> None:
        """The text of a part of the page, and a screenshot of all of it."""
        text = self.page.locator(selector).first.inner_text()
        self._diary.sees("\n".join(re.sub(r"\s*\t\s*", " · ", line) for line in text.splitlines()), most=most)
        self._shots += 1
        target = self._diary.picture(f"{self._shots:02d}")
        if target is not None:
            self.page.screenshot(path=target, full_page=True)

    def waits_for(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Live, without a reload."""
        expect(self.page.locator(selector).first).to_contain_text(text, timeout=PATIENCE_MS)


def handle(day: BadDay, diary: Diary) -> None:
    """From the first call until all is well."""
    url = day.stack.plan.settings["FLOWER_URL"]
    wait_until(lambda: _answers(url), 40, "Flower")
    with chromium(url) as running, running.tab("olga", "olga-pw") as tab:
        screen = Screen(tab, diary)
        _called(screen, diary, day)
        _pool(screen, diary)
        _letters(screen, diary, day)
        _provider(screen, diary, day)
        _over(screen, diary, day)


def _called(screen: Screen, diary: Diary, day: BadDay) -> None:
    diary.step("Called")
    day.wait_firing("workers on imports", "paused limits")
    screen.go("Overview", "/holdfast/")
    screen.waits_for("#alerts", "workers on imports")
    screen.waits_for("#alerts", "paused limits")
    screen.sees("#alerts")
    screen.sees("#queues", most=24)
    diary.decides(
        "Three things at once. The pool first: while nobody imports, everything else of it waits. The limit pauses one "
        "provider and loses nothing meanwhile."
    )


def _pool(screen: Screen, diary: Diary) -> None:
    diary.step("The imports pool is dead")
    diary.decides(
        "From here nobody can start a program of Supervisor's; that is for whoever may log in there, and he is called. But a "
        "worker that lives can take the queue meanwhile: the one of the e-mails has little to do."
    )
    worker = f"email0@{socket.gethostname()}"
    screen.go(f"Workers, {worker}, Queues", f"/worker/{worker}")
    screen.page.locator("#worker-tab-queues").click()
    screen.page.locator("#add-consumer-name").fill("imports")
    # 401 is how the server asks for the password, which the browser then sends.
    with screen.page.expect_response(lambda r: "add-consumer" in r.url and r.status != 401) as answered:
        screen.click("Add", "button")
    diary.sees(answered.value.text())
    assert answered.value.ok, f"{answered.value.status} {answered.value.text()}"
    screen.go("Overview", "/holdfast/")
    screen.waits_for("#workers", "email, imports")
    screen.sees("#workers", most=8)
    screen.sees("#queues", most=12)
    screen.go("Audit", "/holdfast/audit?action=redis_lost")
    screen.sees("table")
    diary.decides(
        "Redis was emptied as well: the dispatchers have put back what was queued and sent it again. Nothing to do for it."
    )


def _letters(screen: Screen, diary: Diary, day: BadDay) -> None:
    diary.step("Dead letters pour in")
    day.wait_orders()
    day.wait_firing("new dead letters")
    screen.go("Dead letters", "/holdfast/dead-letters")
    screen.sees("#groups")
    poisoned = screen.page.locator("#groups tbody tr", has_text="day_import")
    count = int(poisoned.locator(".big-n").inner_text().replace(",", ""))
    diary.does(f"clicks “{count}”")
    poisoned.get_by_role("link").first.click()
    screen.page.locator("[data-open]").first.click()
    screen.sees("main, .container-fluid, body", most=10)
    diary.decides(
        f"{count} chunks of one import, one cause: a trigger of the table wants a price list that is not there. Not the file's "
        "fault, not ours: the people of the database put it there. The closed shops are another thing: nobody wants their "
        "reports any more."
    )
    day.mend_the_table()
    screen.page.go_back()
    letter = screen.page.locator("tbody input[type=checkbox]").first
    letter.check()
    screen.click(re.compile("Replay selected"), "button")
    screen.confirm("the price list is there: one to try", re.compile("^Replay 1$"))
    replayed = "SELECT COUNT(*) FROM dead_letters WHERE status = 'replayed'"
    wait_until(lambda: day.database.value(replayed) == 1, 60, "the first letter")
    screen.sees("main, .container-fluid, body", most=6)
    _all_of(screen, diary, "day_import", re.compile("Replay all"))
    screen.confirm("the price list is there", re.compile("^Replay"), At_most_so_many_jobs="5")
    screen.waits_for("h1", re.compile(r"Replayed (\d+) of \1 letters"))
    _all_of(screen, diary, "shop_reports", re.compile("Discard all"))
    screen.confirm("these shops were closed in May", re.compile(f"^Discard {CLOSED}$"))
    screen.waits_for("h1", f"Discarded {CLOSED} of {CLOSED} letters")


def _all_of(screen: Screen, diary: Diary, kind: str, button: re.Pattern[str]) -> None:
    screen.go("Dead letters", "/holdfast/dead-letters")
    group = screen.page.locator("#groups tbody tr", has_text=kind).get_by_role("link").first
    diary.does(f"clicks the number of {kind}")
    group.click()
    screen.click(button)


def _provider(screen: Screen, diary: Diary, day: BadDay) -> None:
    diary.step("The provider throttles")
    screen.go("Locks & limits", "/holdfast/locks")
    screen.sees("#locks")
    screen.go("Runs, the campaign", f"/holdfast/runs/{day.campaign_run}")
    screen.waits_for("body", "lets nothing through")
    screen.sees("#findings", most=10)
    diary.decides(
        "The provider refused with 454 and is left alone by everybody. Called them: the limit was theirs, it is raised now. No "
        "need to wait for the rest of the pause."
    )
    day.mend_the_provider()
    screen.go("Locks & limits", "/holdfast/locks")
    row = screen.page.locator("tr", has_text=PROVIDER).first
    diary.does("clicks “Resume”")
    row.get_by_role("link", name="Resume").click()
    screen.confirm("their support raised the limit, ticket 4711", re.compile("^Resume$"))
    screen.page.wait_for_url("**/holdfast/locks")
    screen.sees("#locks", most=8)
    screen.go("Runs, the campaign", f"/holdfast/runs/{day.campaign_run}")
    screen.waits_for(".pill.big", "completed")
    screen.sees("main, .container-fluid, body", most=8)


def _over(screen: Screen, diary: Diary, day: BadDay) -> None:
    diary.step("Is it over?")
    day.wait_calm()
    screen.go("Overview", "/holdfast/")
    # The first answer may be what was read when somebody last looked.
    expect(screen.page.locator("#alerts")).not_to_contain_text("workers on imports", timeout=PATIENCE_MS)
    screen.waits_for("#alerts", re.compile("All well|No alert fires"))
    screen.sees("#alerts")
    screen.go("Runs", "/holdfast/runs?status=open")
    screen.waits_for("body", "No run matches")
    screen.go("Runs", "/holdfast/runs")
    screen.sees("table")
    screen.go("Audit", "/holdfast/audit")
    screen.sees("table", most=30)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthcheck", timeout=2).status_code == 200
    except requests.RequestException:
        return False
