"""Charts as plain SVG, without a script: numbers of ours alone go into them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ops.pages.show import lasting, show

_WIDTH, _HEIGHT = 600, 100
_LABELS = 4


class Bar(Protocol):
    """What happened in one part of the time: attempts that were done, that failed and are tried again, that died."""

    @property
    def at(self) -> datetime: ...
    @property
    def done(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def dead(self) -> int: ...


def bars(parts: Sequence[Bar], what: str = "the last hour", clock: str = "%H:%M") -> str:
    """Attempts part by part of the time: done, failed, dead on top of each other; failures are seen even if they are few.

    The drawing stretches to the width that there is; its words, which must not, stand around it as HTML.
    """
    top = round_up(max((part.done + part.failed + part.dead for part in parts), default=0))
    total = [sum(part.done for part in parts), sum(part.failed for part in parts), sum(part.dead for part in parts)]
    said = f"Attempts in {what}: {total[0]:,} done, {total[1]:,} failed and tried again, {total[2]:,} dead"
    marks = "".join(f"<span>{part.at:{clock}}</span>" for part in parts[:: max(1, len(parts) // _LABELS)])
    return (
        f'<div class="axis-top">{top:,}</div><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
        f' role="img" aria-label="{show(said)}">{grid(_WIDTH, _HEIGHT)}{columns(parts, top, _WIDTH, _HEIGHT, clock)}</svg>'
        f'<div class="axis" aria-hidden="true">{marks}</div>'
    )


def grid(width: int, height: int) -> str:
    """A line at the top and one in the middle."""
    return "".join(f'<line class="grid" x1="0" x2="{width}" y1="{y}" y2="{y}"/>' for y in (0.5, height / 2))


def columns(parts: Sequence[Bar], top: int, width: int, height: int, clock: str) -> str:
    """A column for each part, ``top`` being the full height."""
    step = width / max(1, len(parts))
    return "".join(_column(place * step, step, part, top, height, clock) for place, part in enumerate(parts))


def _column(x: float, width: float, part: Bar, top: int, height: int, clock: str) -> str:
    base, drawn = float(height), []
    for name, count in (("done", part.done), ("failed", part.failed), ("dead", part.dead)):
        if count:
            tall = max(2.5 if name != "done" else 1.5, height * count / top)
            base -= tall
            drawn.append(
                f'<rect class="{name}" x="{x + 0.08 * width:.2f}" y="{max(0.0, base):.1f}" width="{0.84 * width:.2f}"'
                f' height="{tall:.1f}"/>'
            )
    label = f"{part.at:{clock}} UTC: {part.done:,} done, {part.failed:,} failed, {part.dead:,} dead"
    return (
        f'<g><title>{show(label)}</title><rect class="hit" x="{x:.2f}" y="0" width="{width:.2f}" height="{height}"/>'
        f"{''.join(drawn)}</g>"
    )


def meter(total: int, done: int, dead: int, cancelled: int = 0) -> str:
    """How far a run is: done, dead and cancelled of its jobs."""
    parts, x = [], 0.0
    for name, count in (("done", done), ("dead", dead), ("cancelled", cancelled)):
        if count and total:
            width = max(0.5, 100 * count / total)
            parts.append(f'<rect class="{name}" x="{x:.2f}" y="0" width="{min(width, 100 - x):.2f}" height="6"/>')
            x += width
    said = f"{done:,} of {total:,} jobs done, {dead:,} dead, {cancelled:,} cancelled"
    return (
        f'<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{said}">'
        f'<rect class="rest" width="100" height="6"/>{"".join(parts)}</svg>'
    )


def wait_bar(age_s: float, longest_s: float) -> str:
    """How long the oldest due work of a queue waits, against the longest wait of all queues (a minute at least)."""
    share = min(1.0, age_s / max(60.0, longest_s))
    return (
        '<svg class="meter wait" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"'
        f' aria-label="waits {show(lasting(age_s))}"><rect class="rest" width="100" height="6"/>'
        f'<rect class="waited" width="{max(0.5, 100 * share):.1f}" height="6"/></svg>'
    )


def round_up(value: int) -> int:
    """The next number that is easy to read."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if value <= step * size:
                return step * size
        size *= 10
