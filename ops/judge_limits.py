"""Rate limits that let nothing through: what the other side asked for, or somebody set and may have forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from locks.limit_list import LimitedKey
from ops.checks import Check, ok, warn
from ops.output import duration


def judge_limits(keys: Sequence[LimitedKey]) -> Check:
    """A short pause is everyday business and over before an alert has lost its patience; a long one stops everybody's work."""
    paused = [(key.key, key.pause) for key in keys if key.pause is not None]
    if not paused:
        return ok("paused limits", "none")
    found = "; ".join(f"{name} for another {duration(pause.for_s)}: {pause.reason}" for name, pause in paused)
    advice = "it ends by itself; if the other side is well again, `python -m ops limits resume KEY` ends it now"
    return warn("paused limits", found, advice)
