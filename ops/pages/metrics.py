"""Everything in Prometheus' text format, for whoever may see the pages, and for Prometheus with its token."""

from __future__ import annotations

from ops.metrics import exposition
from ops.pages.handler import Page, shared
from ops.pages.scraper import brings_token


class MetricsPage(Page):
    """What ``python -m ops metrics`` prints."""

    def prepare(self) -> None:
        if not brings_token(self):
            super().prepare()

    async def get(self) -> None:
        text = await shared().get(("metrics",), exposition, fresh_s=2, stale_s=5)
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(text)
