"""The pages in a real Chromium, on real workers: looked at, clicked, typed into."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
import requests
from playwright.sync_api import Page, expect

from tests.e2e.browser import Chromium, chromium
from tests.e2e.harness import Stack, wait_until
from tests.kinds import ALL, EFFECTS_TABLE

SETTINGS = {
    "HOLDFAST_FLOWERS": "1",
    "HOLDFAST_KINDS": ALL,
    "FLOWER_ROLES": "vic=viewer,olga=operator",
    "FLOWER_BASIC_AUTH": "vic:vic-pw,olga:olga-pw",
}
pytestmark = [pytest.mark.stack(**SETTINGS), pytest.mark.timeout(180)]
expect.set_options(timeout=15_000)
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
START = """
import json, sys
from tasks.registry import kind_named, kinds
from tasks.start import start_task
kinds()
print(start_task(kind_named(sys.argv[1])).delay(**json.loads(sys.argv[2])).run_id)
"""


@pytest.fixture
def flower(stack: Stack) -> str:
    """Where Flower answers."""
    url = stack.plan.settings["FLOWER_URL"]
    rows(stack, EFFECTS_TABLE)
    wait_until(lambda: _answers(url), 40, "Flower")
    return url


@pytest.fixture
def browser(flower: str) -> Iterator[Chromium]:
    """One Chromium."""
    with chromium(flower) as running:
        yield running


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthcheck", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def start(stack: Stack, kind: str, **arguments: Any) -> str:
    """Start a run as a producer does."""
    return stack.run("-c", START, kind, json.dumps(arguments)).stdout.strip()


def rows(stack: Stack, statement: str) -> list[Any]:
    """What stands in the database."""
    connection = pymysql.connect(
        host="127.0.0.1",
        port=stack.servers.endpoints.mariadb_port,
        user="root",
        password=stack.servers.endpoints.mariadb_root_password,
        database="holdfast",
        autocommit=True,
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()


def test_an_operators_day_in_a_browser(stack: Stack, browser: Chromium) -> None:
    """Live progress, pause and resume by clicks, letters looked at, edited and replayed until they are done, all audited."""
    password = stack.plan.settings["FLOWER_PASSWORD"]
    slow = start(stack, "keyed", key="slow", jobs=[{"sleep_s": 0.4}] * 900)
    poor = start(
        stack,
        "finishing",
        key="<b>shop</b>",
        jobs=[{"fails": 9, "error": "permanent", "message": HOSTILE, "api_key": "s3"}] * 3,
    )
    wait_until(lambda: _dead(stack) == 3, 40, "three letters")
    with browser.tab("olga", "olga-pw") as tab:
        page = tab.go("/holdfast/")
        expect(page.locator("#tiles")).to_contain_text("dead letters")
        # No beat in this stack: whoever looks is told that nobody else does.
        expect(page.locator("[data-trouble=alerts]")).to_contain_text("Nobody has ever looked")
        # -- a run: what moves, moves without a reload
        page.get_by_role("link", name="Runs", exact=True).first.click()
        page.get_by_role("link", name=slow[:8]).click()
        done = page.locator(".numbers dd").first
        before = int(re.sub(r"\D", "", done.inner_text().split(" of")[0]) or 0)
        page.wait_for_function(
            "before => parseInt(document.querySelector('.numbers dd').textContent.replace(/,/g, '')) > before",
            arg=before,
        )
        expect(page.locator("#course svg")).to_be_visible()
        expect(page.locator("#hands")).to_contain_text("imports")
        _renewing_takes_nothing_away(page)
        # -- pause and resume, by click, with a reason
        page.get_by_role("link", name="Pause").click()
        expect(page.get_by_role("heading", name="Pause this run?")).to_be_visible()
        page.get_by_role("button", name="Pause").click()
        assert page.url.endswith("/pause"), "the browser itself asks for the reason"
        page.get_by_label("Reason").fill("the shop closes")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".pill.big")).to_have_text("paused")
        page.get_by_role("link", name="Resume").click()
        page.get_by_label("Reason").fill("it opens")
        page.keyboard.press("Enter")
        expect(page.locator(".pill.big")).to_have_text("running")
        expect(page.locator("#course")).to_contain_text("paused")
        expect(page.locator("#log")).to_contain_text("the shop closes")
        # -- letters: grouped, a selection, the dry run
        page.goto(tab.url + "/holdfast/dead-letters")
        expect(page.locator("#groups tbody tr")).to_have_count(1)
        assert page.title() != "owned" and page.locator("#groups img").count() == 0
        replay = page.get_by_role("button", name="Replay selected")
        expect(replay).to_be_disabled()
        page.locator("[data-open]").first.click()
        expect(page.locator("pre").first).to_contain_text('"api_key": "••••••"')
        page.get_by_role("link", name="Edit").click()
        page.get_by_label("Payload, JSON").fill('{"fails": 0, "api_key": "••••••"}')
        page.get_by_label("Reason").fill("typo in the shop's name")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("what a replay uses")).to_be_visible()
        page.goto(tab.url + "/holdfast/dead-letters")
        page.locator("tbody input[type=checkbox]").last.check()
        page.get_by_label("Select all").check()
        expect(replay).to_have_text("Replay selected (3)")
        replay.click()
        expect(page.get_by_role("heading", name="Replay 3 dead letters?")).to_be_visible()
        page.get_by_label("Reason").fill("mended")
        page.get_by_role("button", name="Replay 3").click()
        expect(page.get_by_role("heading", name="Replayed 3 of 3 letters")).to_be_visible()
        # What was not edited fails again; the edited one is done, with the secret that the mask stood for.
        wait_until(lambda: _statuses(stack) == {"replayed": 1, "dead": 2}, 40, "the replay")
        assert "s3" in rows(stack, "SELECT edited_payload FROM dead_letters WHERE status = 'replayed'")[0][0]
        # -- an operator is not offered what is an admin's
        page.goto(tab.url + "/holdfast/dead-letters")
        assert page.get_by_role("link", name=re.compile("Discard all")).count() == 0
        page.goto(tab.url + "/holdfast/audit")
        for action in ("pause", "resume", "edit_letter", "replay"):
            expect(page.locator("tbody")).to_contain_text(action)
        assert tab.complaints == []
    with browser.tab("holdfast", password) as tab:
        page = tab.go("/holdfast/dead-letters")
        page.get_by_role("link", name=re.compile("Discard all 2")).click()
        page.get_by_label("Reason").fill("given up")
        page.get_by_role("button", name="Discard 2").click()
        expect(page.get_by_role("heading", name="Discarded 2 of 2 letters")).to_be_visible()
        page.goto(f"{tab.url}/holdfast/runs/{slow}")
        page.get_by_role("link", name="Cancel").click()
        expect(page.locator(".consequences")).to_contain_text("will not be done")
        page.get_by_label("Reason").fill("enough")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".pill.big")).to_have_text(re.compile("cancel"))
        # Live to the end, without a reload.
        expect(page.locator(".pill.big")).to_have_text("cancelled", timeout=20_000)
        assert tab.complaints == []
    actors = {(row[0], row[1]) for row in rows(stack, "SELECT actor, action FROM audit_log")}
    assert {("olga", "pause"), ("olga", "replay"), ("holdfast", "discard_letter"), ("holdfast", "cancel")} <= actors
    assert rows(stack, f"SELECT status FROM runs WHERE run_id = '{poor}'")[0][0] == "completed"


def test_keys_themes_phones_and_hidden_tabs(stack: Stack, browser: Chromium) -> None:
    """The keyboard reaches everything, the theme sticks, nothing is wider than a phone, a hidden tab asks for nothing."""
    run_id = start(
        stack, "keyed", key="long " + "x" * 300, jobs=[{"fails": 9, "error": "permanent", "message": "y" * 3000}, {}]
    )
    wait_until(lambda: _dead(stack) == 1, 40, "the letter")
    letter = rows(stack, "SELECT id FROM dead_letters")[0][0]
    with browser.tab("vic", "vic-pw", scheme="dark") as tab:
        page = tab.go("/holdfast/runs")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main-content"
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/holdfast/runs/{run_id}")
        assert page.locator(".state .actions a").count() == 0, "a viewer is offered nothing"
        # What is cut opens whole, by the keyboard.
        whole = page.locator("#attempts details.cut").first
        whole.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(whole.locator("> bdi")).to_contain_text("y" * 500)
        for key, path in (("d", "dead-letters"), ("l", "locks"), ("a", "audit"), ("r", "runs"), ("o", "")):
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(f"**/holdfast/{path}")
        page.keyboard.press("?")
        expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
        page.keyboard.press("Escape")
        page.locator("#theme-toggle").click()
        page.locator("[data-bs-theme-value=light]").click()
        page.reload()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        # -- a tab that nobody sees
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "live=1" in request.url else None)
        with page.expect_request(lambda request: "live=1" in request.url):
            pass
        page.evaluate(
            "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        page.wait_for_timeout(300)
        asked.clear()
        page.wait_for_timeout(4500)
        assert asked == []
        with page.expect_request(lambda request: "live=1" in request.url, timeout=3000):
            page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        assert tab.complaints == []
    with browser.tab("holdfast", stack.plan.settings["FLOWER_PASSWORD"], phone=True) as tab:
        for path in (
            "",
            "runs",
            f"runs/{run_id}",
            "dead-letters",
            f"dead-letters/{letter}",
            "locks",
            "audit",
            f"dead-letters/{letter}/edit",
        ):
            page = tab.go(f"/holdfast/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page = tab.go("/holdfast/")
        page.get_by_label("Toggle navigation").click()
        page.get_by_role("link", name="Dead letters", exact=True).first.click()
        page.wait_for_url("**/holdfast/dead-letters")
        assert tab.complaints == []


def _renewing_takes_nothing_away(page: Page) -> None:
    """While a part is renewed, focus stays where it was, and so does how far a table is scrolled."""
    page.locator("[data-action=pause]").focus()
    page.locator("[data-keep=attempts]").evaluate("table => { table.scrollTop = 60; window.was = table; }")
    state = page.locator("#state").inner_html()
    page.wait_for_function("before => document.getElementById('state').innerHTML !== before", arg=state)
    page.wait_for_function("!document.body.contains(window.was)")
    expect(page.locator("[data-action=pause]")).to_be_focused()
    assert page.locator("[data-keep=attempts]").evaluate("table => table.scrollTop") == 60


def _dead(stack: Stack) -> int:
    return int(rows(stack, "SELECT COUNT(*) FROM dead_letters WHERE status = 'dead'")[0][0])


def _statuses(stack: Stack) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in rows(stack, "SELECT status, COUNT(*) FROM dead_letters GROUP BY status")}
