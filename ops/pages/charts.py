"""Charts as plain SVG, without a script: numbers of ours alone go into them."""

from __future__ import annotations

from collections.abc import Sequence

from ops.pages.show import clock, show
from runstate.overview import Minute

_WIDTH, _HEIGHT = 600, 100
_LABELS = 4


def bars(minutes: Sequence[Minute]) -> str:
    """Attempts that ended, minute by minute: done, failed, dead on top of each other.

    The drawing stretches to the width that there is; its words, which must not, stand around it as HTML.
    """
    top = _round_up(max((m.done + m.failed + m.dead for m in minutes), default=0))
    step = _WIDTH / max(1, len(minutes))
    columns = "".join(_column(place * step, step, minute, top) for place, minute in enumerate(minutes))
    total = sum(m.done for m in minutes), sum(m.failed for m in minutes), sum(m.dead for m in minutes)
    said = f"Attempts in the last {len(minutes)} minutes: {total[0]} done, {total[1]} failed and tried again, {total[2]} dead"
    grid = "".join(f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>' for y in (0.5, _HEIGHT / 2))
    marks = "".join(f"<span>{clock(minute.at)[:5]}</span>" for minute in minutes[:: max(1, len(minutes) // _LABELS)])
    return (
        f'<div class="axis-top">{top:,}</div><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
        f' role="img" aria-label="{show(said)}">{grid}{columns}</svg><div class="axis" aria-hidden="true">{marks}</div>'
    )


def _column(x: float, width: float, minute: Minute, top: int) -> str:
    base, drawn = float(_HEIGHT), []
    for name, count in (("done", minute.done), ("failed", minute.failed), ("dead", minute.dead)):
        if count:
            height = max(1.5, _HEIGHT * count / top)
            base -= height
            drawn.append(
                f'<rect class="{name}" x="{x + 1:.1f}" y="{base:.1f}" width="{width - 2:.1f}" height="{height:.1f}"/>'
            )
    label = f"{clock(minute.at)[:5]} UTC: {minute.done} done, {minute.failed} failed, {minute.dead} dead"
    return (
        f'<g><title>{show(label)}</title><rect class="hit" x="{x:.1f}" y="0" width="{width:.1f}" height="{_HEIGHT}"/>'
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
    said = f"{done} of {total} jobs done, {dead} dead, {cancelled} cancelled"
    return (
        f'<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{said}">'
        f'<rect class="rest" width="100" height="6"/>{"".join(parts)}</svg>'
    )


def _round_up(value: int) -> int:
    """The next number that is easy to read."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if value <= step * size:
                return step * size
        size *= 10
