"""How people read a start, wherever it is shown."""

from __future__ import annotations

from tasks.kinds import Args, JobKind
from tasks.spool import with_lists


def about_start(kind: JobKind | None, run_id: str, args: Args) -> str:
    """A start's arguments in the kind's own words; the empty text where it has none."""
    if kind is None or kind.describe_start is None:
        return ""
    return kind.describe_start(with_lists(args, run_id))


def about_run(kind: JobKind | None, run_id: str, args: Args) -> str:
    """As `about_start`, of a run whose arguments may have come by name, unchecked: it must be shown above all."""
    try:
        return about_start(kind, run_id, args)
    except Exception:
        # A kind's own words for what was never checked may fail in any way.
        return ""
