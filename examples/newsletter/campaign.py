"""Start the newsletter: ``python -m examples.newsletter.campaign [NAME]``; run it again, and nobody gets it twice.

The workers need EMAIL_PROVIDER_DEFAULT, EMAIL_TEMPLATE_ROOTS and EMAIL_ATTACHMENT_ROOTS (examples/newsletter/templates),
IMPORT_ROOTS (examples), EMAIL_UNSUBSCRIBE_KEYS and EMAIL_UNSUBSCRIBE_URL; see docs/email.md.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from tasks import start_campaign

HERE = Path(__file__).resolve().parent


def arguments(name: str | None = None) -> dict[str, Any]:
    """The arguments that stand in campaign.toml, their paths made absolute; ``name`` for another campaign of the same."""
    given = tomllib.loads((HERE / "campaign.toml").read_text(encoding="utf-8"))
    given["recipients"] = str(HERE.parent.parent / given["recipients"])
    for attachment in given["attachments"]:
        attachment["path"] = str(HERE.parent.parent / attachment["path"])
    return {**given, "name": name or given["name"]}


def start(name: str | None = None) -> str:
    """Start it; the run's id."""
    run_id: str = start_campaign.delay(**arguments(name)).run_id
    return run_id


if __name__ == "__main__":
    print(start(*sys.argv[1:2]))
