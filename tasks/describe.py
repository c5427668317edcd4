"""How people read a start, wherever it is shown."""

from __future__ import annotations

from tasks.kinds import Args, JobKind
from tasks.spool import with_lists


def about_start(kind: JobKind | None, run_id: str, args: Args) -> str:
    """A start's arguments in the kind's own words; the empty text where it has none."""
    if kind is None or kind.describe_start is None:
        return ""
    return kind.describe_start(with_lists(args, run_id))
