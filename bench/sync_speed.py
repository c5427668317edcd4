"""How fast the sync is, against a plain `requests` session that makes the same calls with nothing stored, merged or safe.

``python -m bench.sync_speed [--records 5000] [--rounds 3] [--page 100] [--batch 100] [--latency-ms 0]``: a real
Kinto (memory backend) on loopback, private MariaDB and Valkey, one process and one request at a time on each side, both in turn
within each round.  Plain reads the same pages, and writes the same fields of the same records, on the same conditions, in the
same batches or, with --batch 1, one by one; that it knows the records' versions costs it nothing.

    pulled/s, pushed/s   records a second, from the start of the run to its end
    ratio                sync / plain, of the medians; the promise is 0.8
    cpu                  seconds of this process' own CPU for 1,000 records: what an API that is not on this machine leaves to see
    requests/record      of the sync's run, everything counted; the promise is 1.1; an unchanged run only lists

``--latency-ms`` has each answer arrive so much later, as from an API that is not on loopback.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from bench.slow_line import slow_line
from stack.private import private_servers
from tests.kinto_server import PASSWORD, USER, KintoServer, kinto_server
from tests.waiting import wait_until


def main() -> int:
    """Measure, print the table; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=int, default=100, help="records a page: many APIs give no more than 100")
    parser.add_argument("--batch", type=int, default=100, help="writes a request; 1: one by one")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how much later each answer arrives")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    with ExitStack() as stack:
        servers, kinto = stack.enter_context(private_servers(directory)), stack.enter_context(kinto_server())
        url = kinto.url
        if options.latency_ms:
            port = stack.enter_context(slow_line(urlsplit(url).port or 0, options.latency_ms))
            url = f"http://127.0.0.1:{port}/v1"
        os.environ.update(servers.environment())
        os.environ["HOLDFAST_VAR"] = str(directory)
        os.environ["HOLDFAST_SYNC"] = "tests.sync_shop:SHOP"
        os.environ["SYNC_CONNECTION_SHOP"] = url.replace("://", f"://{USER}:{PASSWORD}@")
        return measure(kinto, url, options)


def measure(kinto: KintoServer, url: str, options: argparse.Namespace) -> int:
    """Every round: both pulls, then both pushes."""
    from tasks.sync.kind import SYNC
    from tests.integration.machinery import execute, planned, run_of, work_off
    from tests.sync_api import ITEMS
    from tests.sync_shop import ShopItems

    records, batch, page = options.records, options.batch, options.page
    ShopItems.batch_size, ShopItems.page_size = batch, page

    def sync() -> Any:
        run_id = planned(SYNC, connection="shop", kind="items")
        work_off(SYNC, run_id)
        run = run_of(run_id)
        assert run.status.value == "completed", run.reason
        return run.result

    taken = Taken(records)
    per_record: dict[str, float] = {}
    for _ in range(options.rounds):
        for name in ("sync_links", "sync_cursors", "sync_outbox", "sync_ledger", "sync_audit"):
            execute(f"DELETE FROM {name}")
        execute("DROP TABLE IF EXISTS items")
        execute(ITEMS)
        kinto.fresh("items")
        plain = Plain(url)
        plain.make(records)
        settled(kinto, ShopItems.overlap_ms)
        taken.time("pull plain", partial(plain.read, page))
        kinto.forget_requests()
        taken.time("pull sync", sync)
        per_record["pull, pages included"] = len(kinto.requests()) / records
        execute("UPDATE items SET stock = stock + 1000")
        execute(
            "INSERT INTO sync_outbox (connection, kind, entity) SELECT 'shop', 'items', CONCAT('l:', id) FROM items"
        )
        kinto.forget_requests()
        taken.time("push sync", sync)
        per_record["push"] = len(kinto.requests()) / records
        settled(kinto, ShopItems.overlap_ms)
        sync()
        kinto.forget_requests()
        sync()
        per_record["an unchanged run (requests)"] = len(kinto.requests())
        known = plain.read(page)
        taken.time("push plain", partial(plain.update, known, batch))
    for what, number in per_record.items():
        print(f"requests a record, {what}: {number:.3f}")
    return 0 if all([taken.show("pull"), taken.show("push")]) else 1


def settled(kinto: KintoServer, overlap_ms: int) -> None:
    """Have the newest change be much newer than the others: what lies within the overlap behind it is listed again in every run."""
    over = time.monotonic() + overlap_ms / 1000 + 0.1
    wait_until(lambda: time.monotonic() > over, overlap_ms / 1000 + 10)
    kinto.put("items", "newest", **_fields(0))


class Taken:
    """How long each side took."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.seconds: dict[str, list[tuple[float, float]]] = {}

    def time(self, name: str, do: Callable[[], object]) -> None:
        started, cpu = time.monotonic(), time.process_time()
        do()
        self.seconds.setdefault(name, []).append((time.monotonic() - started, time.process_time() - cpu))

    def show(self, what: str) -> bool:
        """Print a line; whether the promise was kept."""
        (ours, our_cpu), (plain, plain_cpu) = (
            tuple(statistics.median(column) for column in zip(*self.seconds[f"{what} {who}"], strict=True))
            for who in ("sync", "plain")
        )
        rate, cpu = self.records / ours, 1000 / self.records
        print(
            f"{what}: sync {rate:8.0f}/s   plain {self.records / plain:8.0f}/s   ratio {plain / ours:.2f}"
            f"   cpu {our_cpu * cpu:.2f} and {plain_cpu * cpu:.2f} s for 1,000 records"
        )
        return bool(plain / ours >= 0.8)


class Plain:
    """What anybody would write first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.items = f"{url}/buckets/shop/collections/items/records"
        self.session = requests.Session()
        self.session.auth = (USER, PASSWORD)

    def read(self, page: int) -> list[dict[str, Any]]:
        """Every record, page after page."""
        url: str | None = f"{self.items}?_limit={page}&_sort=last_modified,id"
        found: list[dict[str, Any]] = []
        while url:
            answer = self.session.get(url, timeout=60)
            found += answer.json()["data"]
            url = answer.headers.get("Next-Page")
        return found

    def make(self, records: int) -> None:
        """Make the records."""
        for start in range(0, records, 100):
            entries = [
                {"method": "PUT", "path": f"/buckets/shop/collections/items/records/r{n}", "body": {"data": _fields(n)}}
                for n in range(start, min(start + 100, records))
            ]
            self._batch(entries)

    def update(self, records: list[dict[str, Any]], batch: int) -> None:
        """Change a field of each record, on the condition that it is as it was read."""
        if batch == 1:
            for record in records:
                self.session.patch(
                    f"{self.items}/{record['id']}",
                    json={"data": {"stock": record["stock"] + 1}},
                    headers={"If-Match": f'"{record["last_modified"]}"'},
                    timeout=60,
                ).raise_for_status()
            return
        for start in range(0, len(records), batch):
            self._batch(
                [
                    {
                        "method": "PATCH",
                        "path": f"/buckets/shop/collections/items/records/{record['id']}",
                        "headers": {"If-Match": f'"{record["last_modified"]}"'},
                        "body": {"data": {"stock": record["stock"] + 1}},
                    }
                    for record in records[start : start + batch]
                ]
            )

    def _batch(self, entries: list[dict[str, Any]]) -> None:
        self.session.post(f"{self.url}/batch", json={"requests": entries}, timeout=60).raise_for_status()


def _fields(n: int) -> dict[str, Any]:
    return {"name": f"Item {n}", "price": f"{n % 100}.50", "stock": n}


if __name__ == "__main__":
    sys.exit(main())
