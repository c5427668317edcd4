"""How fast the sync is, against a plain `requests` session that makes the same calls with nothing stored, merged or safe.

``python -m bench.sync_speed [--records 5000] [--rounds 3] [--page 100] [--batch 100]``: a real
Kinto (memory backend) on loopback, private MariaDB and
Valkey, one process on each side, runs in turn.  Plain reads the same pages, and writes the same records in the same batches
or, with --batch 1, one by one.

    pulled/s, pushed/s   records a second, from the start of the run to its end
    ratio                sync / plain, of the medians; the promise is 0.8
    requests/record      of the sync's run, everything counted; the promise is 1.1; an unchanged run only lists
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import requests

from stack.private import private_servers
from tests.kinto_server import PASSWORD, USER, KintoServer, kinto_server


def main() -> int:
    """Measure, print the table; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=int, default=100, help="records a page: many APIs give no more than 100")
    parser.add_argument("--batch", type=int, default=100, help="writes a request; 1: one by one")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    with private_servers(directory) as servers, kinto_server() as kinto:
        os.environ.update(servers.environment())
        os.environ["HOLDFAST_VAR"] = str(directory)
        os.environ["HOLDFAST_SYNC"] = "tests.sync_shop:SHOP"
        os.environ["SYNC_CONNECTION_SHOP"] = kinto.url.replace("://", f"://{USER}:{PASSWORD}@")
        return measure(kinto, options)


def measure(kinto: KintoServer, options: argparse.Namespace) -> int:
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

    rates: dict[str, list[float]] = {}
    per_record: dict[str, float] = {}
    for _ in range(options.rounds):
        for name in ("sync_links", "sync_cursors", "sync_outbox", "sync_ledger", "sync_audit"):
            execute(f"DELETE FROM {name}")
        execute("DROP TABLE IF EXISTS items")
        execute(ITEMS)
        kinto.fresh("items")
        session = requests.Session()
        session.auth = (USER, PASSWORD)
        write_plain(session, kinto, records)
        timed(rates, "pull plain", records, partial(read_plain, session, kinto, page))
        kinto.forget_requests()
        timed(rates, "pull sync", records, sync)
        per_record["pull, pages included"] = len(kinto.requests()) / records
        execute("UPDATE items SET stock = stock + 1000")
        execute(
            "INSERT INTO sync_outbox (connection, kind, entity) SELECT 'shop', 'items', CONCAT('l:', id) FROM items"
        )
        kinto.forget_requests()
        timed(rates, "push sync", records, sync)
        per_record["push"] = len(kinto.requests()) / records
        kinto.forget_requests()
        sync()
        sync()
        per_record["unchanged, two runs (requests)"] = len(kinto.requests())
        timed(rates, "push plain", records, partial(update_plain, session, kinto, page, batch))
    kept = True
    for what in ("pull", "push"):
        ours, plain = (statistics.median(rates[f"{what} {who}"]) for who in ("sync", "plain"))
        kept &= ours / plain >= 0.8
        print(f"{what}: sync {ours:8.0f}/s   plain {plain:8.0f}/s   ratio {ours / plain:.2f}")
    for what, number in per_record.items():
        print(f"requests a record, {what}: {number:.3f}")
    return 0 if kept else 1


def timed(rates: dict[str, list[float]], name: str, records: int, do: Callable[[], object]) -> None:
    started = time.monotonic()
    do()
    rates.setdefault(name, []).append(records / (time.monotonic() - started))


def _url(kinto: KintoServer) -> str:
    return f"{kinto.url}/buckets/shop/collections/items/records"


def read_plain(session: requests.Session, kinto: KintoServer, page: int) -> list[dict[str, Any]]:
    """Every record, page after page."""
    url: str | None = f"{_url(kinto)}?_limit={page}&_sort=last_modified,id"
    found: list[dict[str, Any]] = []
    while url:
        answer = session.get(url, timeout=60)
        found += answer.json()["data"]
        url = answer.headers.get("Next-Page")
    return found


def write_plain(session: requests.Session, kinto: KintoServer, records: int) -> None:
    """Make the records."""
    for start in range(0, records, 100):
        entries = [
            {"method": "PUT", "path": f"/buckets/shop/collections/items/records/r{n}", "body": {"data": _fields(n)}}
            for n in range(start, min(start + 100, records))
        ]
        session.post(f"{kinto.url}/batch", json={"requests": entries}, timeout=60).raise_for_status()


def update_plain(session: requests.Session, kinto: KintoServer, page: int, batch: int) -> None:
    """Change a field of each record, on the condition that it is as it was read."""
    records = read_plain(session, kinto, page)
    if batch == 1:
        for record in records:
            session.patch(
                f"{_url(kinto)}/{record['id']}",
                json={"data": {"stock": record["stock"] + 1}},
                headers={"If-Match": f'"{record["last_modified"]}"'},
                timeout=60,
            ).raise_for_status()
        return
    for start in range(0, len(records), batch):
        entries = [
            {
                "method": "PATCH",
                "path": f"/buckets/shop/collections/items/records/{record['id']}",
                "headers": {"If-Match": f'"{record["last_modified"]}"'},
                "body": {"data": {"stock": record["stock"] + 1}},
            }
            for record in records[start : start + batch]
        ]
        session.post(f"{kinto.url}/batch", json={"requests": entries}, timeout=60).raise_for_status()


def _fields(n: int) -> dict[str, Any]:
    return {"name": f"Item {n}", "price": f"{n % 100}.50", "stock": n}


if __name__ == "__main__":
    sys.exit(main())
