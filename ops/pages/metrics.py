"""Everything in Prometheus' text format, behind the same login as the pages (basic auth is what Prometheus can send)."""

from __future__ import annotations

from ops.metrics import exposition
from ops.pages.handler import Page, shared


class MetricsPage(Page):
    """What ``python -m ops metrics`` prints."""

    async def get(self) -> None:
        text = await shared().get(("metrics",), exposition, fresh_s=2, stale_s=5)
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(text)
