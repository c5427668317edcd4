"""``python -m bench.pages [--jobs N]``: how long the operators' pages take at a size, and what fifty browsers cost.

Real Flower, a private MariaDB and Valkey; every page is timed with nothing kept from before (the answers that browsers share
are forgotten before each), over HTTP, the whole answer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

GOAL_MS = 300
BROWSERS = 50
EVERY_S = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=7, help="how often each page is asked for")
    parser.add_argument("--watch-s", type=float, default=20.0, help="how long browsers refresh")
    options = parser.parse_args()
    from stack.endpoints import Endpoints
    from stack.private import private_servers

    with tempfile.TemporaryDirectory(prefix="bench-pages-") as folder:
        endpoints = Endpoints.generate()
        os.environ |= endpoints.environment() | {
            "HOLDFAST_VAR": folder,
            "HOLDFAST_KINDS": "tests.kinds:KEYED,tests.kinds:FREE",
        }
        with private_servers(Path(folder) / "servers", endpoints=endpoints, migrate=True):
            return _measure(options)


def _measure(options: argparse.Namespace) -> int:
    from bench.pages_data import LARGE, fill
    from tasks import clients
    from tests.integration.flower_pages import flower_site

    began = time.monotonic()
    fill(clients.engine(), jobs=options.jobs, letters=options.letters, runs=options.runs)
    print(
        f"{options.jobs:,} jobs, {options.letters:,} dead letters, {options.runs:,} runs in {time.monotonic() - began:.0f} s"
    )
    pages = {
        "overview": "",
        "runs": "runs",
        "runs, failed": "runs?status=failed",
        "runs, active": "runs?status=active",
        "runs, kind and day": "runs?kind=import&time=24h",
        "runs, key": "runs?key=table_7",
        "runs, text": "runs?text=rejects",
        "runs, text that none has": "runs?text=nowhere",
        "runs, last finished": "runs?sort=finished",
        "run with half of the jobs": f"runs/{LARGE}",
        "dead letters": "dead-letters",
        "dead letters, one kind": "dead-letters?kind=free",
        "dead letters, one class": "dead-letters?error_class=TimeoutError",
        "dead letters, none matches": "dead-letters?error_class=Nothing",
        "dead letters, all": "dead-letters?status=all",
        "dead letters, replaying": "dead-letters?status=replaying",
        "one letter": "dead-letters/500",
        "replay all: dry run": "dead-letters/replay?all=1",
        "cancel: what will happen": f"runs/{LARGE}/cancel",
        "locks and limits": "locks",
        "audit": "audit",
        "audit of one": "audit?actor=anna",
    }
    with flower_site() as site:
        ada = site.browser("ada")
        slow = 0
        for name, path in pages.items():
            took = []
            for _ in range(options.times):
                site.shared.forget()
                began = time.monotonic()
                said = ada.get(f"/holdfast/{path}")
                took.append((time.monotonic() - began) * 1000)
                assert said.status_code == 200, (path, said.status_code, said.text[-500:])
            slow += statistics.median(took) > GOAL_MS
            print(
                f"{name:<28} median {statistics.median(took):6.0f} ms   worst {max(took):6.0f} ms"
                f"   {len(said.content) // 1024:4d} KiB"
            )
        for name, read in _beside(LARGE).items():
            began = time.monotonic()
            read()
            print(
                f"{name:<28} {(time.monotonic() - began) * 1000:6.0f} ms, read beside the page, which does not wait for it"
            )
        for path in ("", f"runs/{LARGE}", "dead-letters"):
            one, fifty = (_statements(site, path, browsers, options.watch_s) for browsers in (1, BROWSERS))
            print(f"/{path:<42} statements a second: one browser {one:.1f}, {BROWSERS} browsers {fifty:.1f}")
    return 1 if slow else 0


def _beside(run_id: str) -> dict[str, Callable[[], object]]:
    from ops.health import all_checks
    from ops.pages.handler import asked
    from runstate import overview
    from tasks.explain import explain

    return {"an hour by minute": asked(overview.minutes), "health": all_checks, "explain": lambda: explain(run_id)}


def _statements(site: object, path: str, browsers: int, watch_s: float) -> float:
    """What MariaDB is asked a second while so many browsers keep this page open."""
    from sqlalchemy import text

    from tasks import clients

    over = threading.Event()

    def watch(number: int) -> None:
        browser = site.browser("ada")  # type: ignore[attr-defined]
        over.wait(number / browsers * EVERY_S)
        while not over.is_set():
            browser.get(f"/holdfast/{path}?live=1")
            over.wait(EVERY_S)

    def questions() -> int:
        with clients.engine().connect() as connection:
            return int(connection.execute(text("SHOW GLOBAL STATUS LIKE 'Questions'")).one()[1])

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(browsers)]
    for thread in threads:
        thread.start()
    time.sleep(EVERY_S)
    before, began = questions(), time.monotonic()
    time.sleep(watch_s)
    asked = (questions() - before) / (time.monotonic() - began)
    over.set()
    for thread in threads:
        thread.join()
    return asked


if __name__ == "__main__":
    sys.exit(main())
