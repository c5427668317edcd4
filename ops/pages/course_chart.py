"""The course of a run, drawn: a strip of what it was in when, and below it what its attempts came to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ops.pages.charts import Bar, columns, grid, round_up
from ops.pages.run_course import Course, Stretch
from ops.pages.show import lasting, show

_WIDTH, _HEIGHT, _STRIP, _GAP = 600, 100, 12, 6


def course(run: Course, parts: Sequence[Bar] | None) -> str:
    """The strip, with a mark where the last progress was; ``parts`` are its attempts, None while they are counted."""
    span_s = run.seconds
    said = "The run: " + ", ".join(f"{s.state} {lasting(s.seconds)}" for s in run.stretches)
    strip = "".join(_stretch(stretch, run) for stretch in run.stretches)
    height, drawn = _STRIP, ""
    if parts:
        top = round_up(max(part.done + part.failed + part.dead for part in parts))
        height = _STRIP + _GAP + _HEIGHT
        drawn = (
            f'<g transform="translate(0 {_STRIP + _GAP})">{grid(_WIDTH, _HEIGHT)}'
            f"{columns(parts, top, _WIDTH, _HEIGHT, _clock(span_s))}</g>"
        )
    mark = ""
    if run.progress_at is not None:
        x = _x(run.progress_at, run)
        mark = (
            f'<g><title>last progress {run.progress_at:%H:%M:%S} UTC</title><line class="mark" x1="{x:.1f}" x2="{x:.1f}"'
            f' y1="0" y2="{height}"/></g>'
        )
    ends = f"<span>{_when(run.begin, span_s)}</span><span>{_when(run.end, span_s)}</span>"
    return (
        f'<svg class="course{" with-bars" if drawn else ""}" viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none"'
        f' role="img" aria-label="{show(said)}">{strip}{drawn}{mark}</svg><div class="axis ends" aria-hidden="true">{ends}</div>'
    )


def _stretch(stretch: Stretch, run: Course) -> str:
    begin, end = _x(stretch.begin, run), _x(stretch.end, run)
    label = f"{stretch.state} {lasting(stretch.seconds)}, from {stretch.begin:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f'<g><title>{show(label)}</title><rect class="s-{show(stretch.state)}" x="{begin:.2f}" y="0"'
        f' width="{max(1.0, end - begin):.2f}" height="{_STRIP}"/></g>'
    )


def _x(at: datetime, run: Course) -> float:
    return min(1.0, max(0.0, (at - run.begin).total_seconds() / run.seconds)) * _WIDTH


def _clock(span_s: float) -> str:
    return "%H:%M:%S" if span_s < 6 * 3600 else "%m-%d %H:%M"


def _when(at: datetime, span_s: float) -> str:
    return f"{at:%H:%M:%S}" if span_s < 20 * 3600 else f"{at:%Y-%m-%d %H:%M}"
