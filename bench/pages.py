"""``python -m bench.pages [--jobs N]``: how long the operators' pages and commands take at a size, and what fifty browsers cost.

Real Flower, a private MariaDB and Valkey.  Every page is timed with nothing kept from before, neither in Flower nor in Redis,
over HTTP, the whole answer; beside the time stand what it cost of a processor (Flower, the browser and MariaDB together) and
the rows that MariaDB read, which other programs on the machine change little or not at all.  Fifty browsers refresh a page of
one Flower, and of two that share a Redis.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GOAL_MS = 300
BROWSERS = 50


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--letters", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=7, help="how often each page is asked for")
    parser.add_argument("--watch-s", type=float, default=20.0, help="how long browsers refresh; 0: not at all")
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
    from bench.pages_data import fill
    from tasks import clients
    from tests.integration.flower_pages import flower_site

    began = time.monotonic()
    fill(clients.engine(), jobs=options.jobs, letters=options.letters, runs=options.runs)
    print(
        f"{options.jobs:,} jobs, {options.letters:,} dead letters, {options.runs:,} runs in {time.monotonic() - began:.0f} s;"
        f" load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    )
    with flower_site() as one, flower_site() as other:
        slow = _pages(one, options.times) + _commands(options.times)
        if options.watch_s:
            _browsers(one, other, options.watch_s)
    print(f"load at the end {os.getloadavg()[0]:.1f}; {slow or 'nothing'} slower than {GOAL_MS} ms")
    return 1 if slow else 0


def _pages(site: Any, times: int) -> int:
    from bench.pages_data import PAGES
    from tasks import clients

    ada, slow = site.browser("ada"), 0
    print(f"\n{'page, nothing kept':<34}{HEADINGS}")
    for name, path in PAGES.items():

        def ask(path: str = path) -> None:
            site.shared.forget(everything=True)
            clients.redis().flushdb()
            said = ada.get(f"/holdfast/{path}")
            assert said.status_code == 200, (path, said.status_code, said.text[-500:])

        slow += _row(name, ask, times)
    return slow


def _commands(times: int) -> int:
    from bench.pages_data import COMMANDS
    from tasks import clients

    slow = 0
    print(f"\n{'python -m ops, the start apart':<34}{HEADINGS}")
    for command in COMMANDS:

        def run(command: str = command) -> None:
            clients.redis().flushdb()
            _quietly(command)

        slow += _row(command if len(command) < 34 else f"{command[:31]}...", run, times)
    # Not for every look: one reads them a minute at most, the others get what it found.
    clients.redis().flushdb()
    _row("stats, nothing kept", lambda: _quietly("stats"), 1)
    _row("stats, kept", lambda: _quietly("stats"), times)
    return slow


def _quietly(command: str) -> None:
    from ops.cli import main as ops

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ops(command.split())


HEADINGS = f"{'median':>9}{'worst':>9}{'CPU':>9}{'rows read':>12}  verdict"


def _row(name: str, work: Callable[[], None], times: int) -> int:
    took: list[float] = []
    spent: list[float] = []
    read: list[int] = []
    for _ in range(times):
        rows, cpu = _rows_read(), _cpu_ms()
        began = time.monotonic()
        work()
        took.append((time.monotonic() - began) * 1000)
        # What a page does not wait for (its throughput, its checks) is counted in, once it has come.
        time.sleep(0.5)
        spent.append(_cpu_ms() - cpu)
        read.append(_rows_read() - rows)
    median = statistics.median(took)
    verdict = "ok" if median <= GOAL_MS else f"over {GOAL_MS} ms"
    print(
        f"{name:<34}{median:6.0f} ms{max(took):6.0f} ms{statistics.median(spent):6.0f} ms{statistics.median(read):>12,.0f}"
        f"  {verdict}",
        flush=True,
    )
    return int(median > GOAL_MS)


def _rows_read() -> int:
    from sqlalchemy import text

    from tasks import clients

    with clients.engine().connect() as connection:
        found = connection.execute(text("SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Handler_read%'"))
        return sum(int(row[1]) for row in found)


def _cpu_ms() -> float:
    """Of this process, which is Flower and the browser, and of MariaDB."""
    from sqlalchemy import text

    from tasks import clients

    with clients.engine().connect() as connection:
        pid = Path(connection.execute(text("SELECT @@pid_file")).scalar_one()).read_text().strip()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() * 1000 + (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def _browsers(one: Any, other: Any, watch_s: float) -> None:
    from bench.pages_data import LARGE

    print(f"\n{'statements a second':<34}{'1 browser':>12}{f'{BROWSERS}':>12}{f'{BROWSERS} on 2 Flowers':>18}")
    # Each with the pace of its script.
    for path, every_s in (("", 3.0), ("runs", 5.0), (f"runs/{LARGE}", 2.0), ("dead-letters", 5.0)):
        found = [
            _statements(sites, path, browsers, every_s, watch_s)
            for sites, browsers in (((one,), 1), ((one,), BROWSERS), ((one, other), BROWSERS))
        ]
        print(f"{'/' + path[:32]:<34}{found[0]:12.1f}{found[1]:12.1f}{found[2]:18.1f}", flush=True)


def _statements(sites: tuple[Any, ...], path: str, browsers: int, every_s: float, watch_s: float) -> float:
    """What MariaDB is asked a second while so many browsers keep this page open."""
    from sqlalchemy import text

    from tasks import clients

    over = threading.Event()

    def watch(number: int) -> None:
        browser = sites[number % len(sites)].browser("ada")
        over.wait(number / browsers * every_s)
        while not over.is_set():
            browser.get(f"/holdfast/{path}?live=1")
            over.wait(every_s * random.uniform(0.9, 1.1))

    def questions() -> int:
        with clients.engine().connect() as connection:
            return int(connection.execute(text("SHOW GLOBAL STATUS LIKE 'Questions'")).one()[1])

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(browsers)]
    for thread in threads:
        thread.start()
    time.sleep(every_s)
    before, began = questions(), time.monotonic()
    time.sleep(watch_s)
    asked = (questions() - before) / (time.monotonic() - began)
    over.set()
    for thread in threads:
        thread.join()
    return asked


if __name__ == "__main__":
    sys.exit(main())
