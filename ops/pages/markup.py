"""Texts as HTML: the only functions, besides the charts, whose answers templates put in raw.  Each escapes what it is given."""

from __future__ import annotations

import re
from collections.abc import Callable

from ops.pages.show import said, show

_RUN_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def cut(text: str | None, most: int, keep: str = "") -> str:
    """Somebody else's text without secrets, as HTML: what is longer than ``most`` characters opens on a click.

    ``keep`` names it within its page, so that it stays open while the page is renewed.
    """
    clean = said(text)
    if len(clean) <= most:
        return f"<bdi>{show(clean)}</bdi>"
    return (
        f'<details class="cut" data-keep="{show(keep)}"><summary><bdi>{show(clean[:most])} …</bdi></summary>'
        f"<bdi>{show(clean)}</bdi></details>"
    )


def linked(text: str | None, address: Callable[[str], str], most: int | None = None) -> str:
    """Somebody else's text without secrets, as HTML: run ids in it are links, all else is escaped."""
    clean, made, end = said(text, most), [], 0
    for found in _RUN_ID.finditer(clean):
        made.append(show(clean[end : found.start()]))
        made.append(f'<a class="mono" href="{show(address(found.group()))}">{found.group()[:8]}</a>')
        end = found.end()
    return "".join(made) + show(clean[end:])


def prose(text: str) -> str:
    """A sentence of ours, as HTML: what stands between backticks is code."""
    parts = text.split("`")
    return "".join(f"<code>{show(part)}</code>" if place % 2 else show(part) for place, part in enumerate(parts))
