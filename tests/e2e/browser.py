"""A real headless Chromium, driven by Playwright, which must not fetch a browser of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from stack.chromium import chromium_program

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


@dataclass
class Tab:
    """A page with somebody logged in; ``complaints`` are what its console and its policy said."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a page of Flower's."""
        self.page.goto(self.url + path)
        return self.page


@dataclass(frozen=True)
class Chromium:
    """One browser; each tab has its own cookies."""

    browser: Browser
    url: str

    @contextmanager
    def tab(
        self,
        user: str,
        password: str,
        *,
        phone: bool = False,
        scheme: Literal["light", "dark"] = "light",
        **options: Any,
    ) -> Iterator[Tab]:
        """A tab with this user logged in."""
        context = self.browser.new_context(
            viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
            color_scheme=scheme,
            http_credentials={"username": user, "password": password},
            **options,
        )
        context.set_default_timeout(15_000)
        tab = Tab(context.new_page(), self.url)
        tab.page.on(
            "console", lambda said: tab.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        try:
            yield tab
        finally:
            context.close()


@contextmanager
def chromium(url: str) -> Iterator[Chromium]:
    """Start it, and end it."""
    program = chromium_program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(program.path),
            env=program.environment(),  # type: ignore[arg-type]
            # Tests may run as root, in a container, where Chromium's own sandbox cannot be.
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        try:
            yield Chromium(browser, url)
        finally:
            browser.close()
