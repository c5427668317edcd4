"""The addresses of the pages, below Flower's ``url_prefix``."""

from __future__ import annotations

from pathlib import Path

from tornado.routing import URLSpec
from tornado.web import StaticFileHandler, url

from ops.pages.audit import AuditPage
from ops.pages.letter import EditPage, LetterPage
from ops.pages.letters import LettersPage
from ops.pages.letters_act import LettersActionPage
from ops.pages.limits import LimitPage
from ops.pages.locks import LocksPage, ReleasePage
from ops.pages.metrics import MetricsPage
from ops.pages.missing import MissingPage
from ops.pages.operations import OperationPage
from ops.pages.overview import OverviewPage
from ops.pages.run import RunPage
from ops.pages.run_act import RunActionPage
from ops.pages.runs import RunsPage

STATIC = Path(__file__).parent / "static"
_RUN = r"([0-9a-f-]{1,36})"


def routes() -> list[URLSpec]:
    """Every page, by name: `reverse_url` knows the prefix."""
    return [
        url(r"/holdfast/", OverviewPage, name="holdfast-overview"),
        url(r"/holdfast", OverviewPage),
        url(r"/holdfast/runs", RunsPage, name="holdfast-runs"),
        url(rf"/holdfast/runs/{_RUN}", RunPage, name="holdfast-run"),
        url(rf"/holdfast/runs/{_RUN}/(pause|resume|cancel|recover|retry)", RunActionPage, name="holdfast-run-action"),
        url(r"/holdfast/dead-letters", LettersPage, name="holdfast-letters"),
        url(r"/holdfast/dead-letters/([0-9]{1,18})", LetterPage, name="holdfast-letter"),
        url(r"/holdfast/dead-letters/([0-9]{1,18})/edit", EditPage, name="holdfast-letter-edit"),
        url(r"/holdfast/dead-letters/(replay|discard)", LettersActionPage, name="holdfast-letters-action"),
        url(r"/holdfast/operations/([0-9a-f]{16})", OperationPage, name="holdfast-operation"),
        url(r"/holdfast/locks", LocksPage, name="holdfast-locks"),
        url(r"/holdfast/locks/release", ReleasePage, name="holdfast-lock-release"),
        url(r"/holdfast/limits/(pause|resume)", LimitPage, name="holdfast-limit"),
        url(r"/holdfast/audit", AuditPage, name="holdfast-audit"),
        url(r"/holdfast/metrics", MetricsPage, name="holdfast-metrics"),
        # Style and script, the same for everybody: nothing to hide in them.
        url(r"/holdfast/static/(.*)", StaticFileHandler, {"path": str(STATIC)}, name="holdfast-static"),
        url(r"/holdfast/.*", MissingPage),
    ]
