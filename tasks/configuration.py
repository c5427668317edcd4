"""``python -m tasks.configuration``: whether the kinds and schedules of this environment can be loaded.

`make up` asks before it starts anything, for a kind that cannot be loaded would have every pool crash and restart.
"""

from __future__ import annotations

import sys

from tasks.errors import TasksError
from tasks.registry import kinds
from tasks.schedules import load_schedules
from tasks.settings import settings


def main() -> int:
    """Load them; 1 with a clear error if that does not work."""
    try:
        names = sorted(kinds())
        schedules = load_schedules(settings().schedules, purge_cron=settings().purge_cron)
    except (ImportError, TypeError, ValueError, TasksError) as error:
        print(f"{error} (HOLDFAST_KINDS, HOLDFAST_SCHEDULES)", file=sys.stderr)
        return 1
    print(f"kinds: {', '.join(names)}; schedules: {', '.join(s.name for s in schedules) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
