"""A bad day on a real stack under load: Redis flushed, a pool dead for good, a poisoned import, a provider says 454, at once.

``python -m bench.bad_day --by commands|pages [--out DIR] [--rows 120000] [--recipients 600]``.  An operator handles it with nothing
but the command line, or nothing but the pages in a real Chromium; what is seen, decided and done is printed, and kept in DIR
with a screenshot of each page.  Exit code 1 unless every run completed, no row and no mail is missing or doubled, every
alert that should have fired did and is over, and the audit log says who did what and why.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import bad_day_commands, bad_day_pages
from bench.bad_day_diary import Diary
from bench.bad_day_trouble import bad_day, stack_settings
from stack.private import private_servers
from tests.cleaning import table_names
from tests.e2e.harness import Stack
from tests.email_server import free_port

OPERATORS = {"commands": bad_day_commands.handle, "pages": bad_day_pages.handle}


def main() -> int:
    """Run the day."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", choices=[*OPERATORS, "both"], default="both")
    parser.add_argument("--out", type=Path, help="where the diary and the screenshots go")
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--recipients", type=int, default=600)
    options = parser.parse_args()
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "FLOWER_URL", "IMPORT_ROOTS"):
        os.environ.pop(name, None)
    problems = []
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-day-") as directory,
        private_servers(Path(directory)) as servers,
    ):
        for by in OPERATORS if options.by == "both" else [options.by]:
            var, port = Path(directory) / by, free_port()
            stack = Stack(servers, frozenset(table_names(servers)), var)
            try:
                stack.begin(stack_settings(var, port, pages=by == "pages", every_s=5, patience_s=10))
                found = live(stack, by, port, rows=options.rows, recipients=options.recipients, out=options.out)
                problems += [f"by {by}: {problem}" for problem in found]
            finally:
                stack.end()
    for problem in problems:
        print(f"BROKEN {problem}")
    print("every promise kept" if not problems else f"{len(problems)} broken")
    return 1 if problems else 0


def live(stack: Stack, by: str, port: int, *, rows: int, recipients: int, out: Path | None = None) -> list[str]:
    """One day; what is not as it must be at its end."""
    with bad_day(stack, port, rows=rows, recipients=recipients) as day:
        diary = Diary(by, out)
        day.strike()
        try:
            OPERATORS[by](day, diary)
        finally:
            diary.close()
        return day.problems()


if __name__ == "__main__":
    sys.exit(main())
