"""How values look on a page.  Everything that is not ours to say goes through `show`: keys, reasons, errors, payloads."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from tornado.escape import xhtml_escape

from ops.output import duration
from ops.pages.masking import masked, masked_text


def show(value: Any) -> str:
    r"""``value`` as text that is safe in HTML, in elements and in quoted attributes.

    Control characters and those that turn the writing direction are shown as what they are (``\u202e``), so that a key or
    an error cannot pose as something else; line ends and tabs stay.
    """
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return xhtml_escape("".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text))


def moment(at: datetime | None) -> str:
    """A naive UTC time, to the second."""
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def clock(at: datetime | None) -> str:
    """The time of day alone."""
    return "–" if at is None else f"{at:%H:%M:%S}"


def ago(seconds: float | None) -> str:
    """An age."""
    return "–" if seconds is None else f"{duration(seconds)} ago"


def lasting(seconds: float | None) -> str:
    """A duration."""
    return "–" if seconds is None else duration(seconds)


def number(value: float | None) -> str:
    """With thousands set apart."""
    return "–" if value is None else f"{value:,.0f}"


def document(value: Any) -> str:
    """JSON to read, with secrets masked."""
    return json.dumps(masked(value), indent=2, ensure_ascii=False, default=str)


def line(value: Any, most: int = 300) -> str:
    """JSON in a line, with secrets masked, cut after ``most`` characters."""
    text = json.dumps(masked(value), ensure_ascii=False, default=str)
    return text if len(text) <= most else text[:most] + " …"


def changed(before: Any, after: Any, most: int = 20_000) -> str:
    """What an action changed, with secrets masked: ``status: running → paused``; what stayed the same is left out."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"{line(before, most)} → {line(after, most)}"
    old, new = masked(before), masked(after)
    names = [name for name in {**old, **new} if before.get(name) != after.get(name)]
    # A heartbeat moves by itself: it says something only where nothing else did.
    names = [name for name in names if name != "heartbeat_at"] or names
    return "; ".join(f"{name}: {_word(old, name)} → {_word(new, name)}" for name in names)[:most] or "nothing changed"


def _word(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if name not in document or value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def pace(per_s: float) -> str:
    """A rate of jobs, in the unit in which it is a number that one can read."""
    for unit, factor in (("a second", 1), ("a minute", 60)):
        if per_s * factor >= 1:
            return f"{per_s * factor:,.1f} {unit}"
    return f"{per_s * 3600:,.1f} an hour"


def said(text: str | None, most: int | None = None) -> str:
    """Somebody else's text without secrets."""
    clean = masked_text(text or "")
    return clean if most is None or len(clean) <= most else clean[:most] + " …"


def figure(value: Any) -> str:
    """A number with thousands set apart, or a word; cut, for it may be anybody's."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None or value == "" else said(str(value), 400)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def tone(word: str) -> str:
    """The colour that goes with a status, an outcome or a level; never the only thing that tells."""
    return _TONES.get(word, "calm")


_TONES = {
    "completed": "good",
    "done": "good",
    "ok": "good",
    "replayed": "good",
    "running": "live",
    "planning": "live",
    "replaying": "live",
    "queued": "live",
    "requested": "calm",
    "paused": "warn",
    "cancelling": "warn",
    "refused": "warn",
    "retry": "warn",
    "stopped": "calm",
    "warn": "warn",
    "failed": "bad",
    "dead": "bad",
    "crashed": "bad",
    "lost": "bad",
    "fail": "bad",
}
