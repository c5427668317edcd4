"""Templates, style and script as files: what they must never hold, and colours that everybody can read."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from ops.pages.loader import TEMPLATES
from ops.pages.routes import STATIC

TEMPLATE_FILES = sorted((TEMPLATES / "holdfast").glob("*.html"))
CSS = (STATIC / "holdfast.css").read_text(encoding="utf-8")
ESCAPING = {"part", "bars", "meter", "wait_bar", "course", "linked", "cut", "prose"}
"""What may be put into a page as it is: each of them escapes what it is given."""


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: str(path.stem))
def test_a_template_puts_in_raw_only_what_escapes(path: Path) -> None:
    """Everything else is escaped by the loader; nothing is inline that the policy would refuse; nothing comes from elsewhere."""
    source = path.read_text(encoding="utf-8")
    for raw in re.findall(r"{%\s*raw\s+(.*?)%}", source):
        assert re.match(r"(\w+)\(", raw.strip()) is not None, raw
        assert raw.strip().partition("(")[0] in ESCAPING, raw
    assert "autoescape" not in source and not re.search(r"\sstyle=|\son\w+=|<style|<script>|javascript:", source)
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", source)


def test_style_and_script_fetch_nothing_from_elsewhere() -> None:
    """No font, no picture, no library of somebody else's."""
    script = (STATIC / "holdfast.js").read_text(encoding="utf-8")
    assert "@import" not in CSS and "url(" not in CSS and "//" not in re.sub(r"/\*.*?\*/", "", CSS, flags=re.DOTALL)
    assert not re.search(r"https?:|eval\(|new Function|document\.write", script)


def _colours(dark: bool) -> dict[str, str]:
    light = dict(re.findall(r"--hf-([\w-]+): (#[0-9a-f]{3,6})", CSS.partition(":root {")[2].partition("}")[0]))
    if not dark:
        return light
    theme = CSS.partition('[data-bs-theme="dark"] {')[2].partition("}")[0]
    return light | dict(re.findall(r"--hf-([\w-]+): (#[0-9a-f]{3,6})", theme))


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(dark: bool) -> None:
    """4.5 for text on whatever it stands on (AA), 3 for what a chart draws."""
    colour = _colours(dark)
    texts = [(word, ground) for word, ground in product(("text", "dim", "good", "live", "warn", "bad"), ("bg", "card"))]
    texts += [(word, f"{word}-bg") for word in ("good", "live", "warn", "bad", "calm")]
    texts += [("text", f"{word}-bg") for word in ("good", "live", "warn", "bad", "calm")]
    low = {pair: _contrast(colour[pair[0]], colour[pair[1]]) for pair in texts}
    assert {pair: round(ratio, 2) for pair, ratio in low.items() if ratio < 4.5} == {}
    drawn = {
        name: _contrast(colour[name], colour["card"]) for name in ("c-done", "c-failed", "c-dead", "c-plan", "focus")
    }
    assert {name: round(ratio, 2) for name, ratio in drawn.items() if ratio < 3} == {}


def test_motion_only_for_those_who_want_it() -> None:
    """What moves stands behind the question whether it may."""
    outside = re.sub(r"@media \(prefers-reduced-motion: no-preference\) {.*", "", CSS)
    assert "animation" not in outside and "transition" not in outside
