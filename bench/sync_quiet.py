"""What one Retry-After does to the whole fleet: the real 60 seconds, in every form.

``python -m bench.sync_quiet [--wait 60]``: a real Kinto behind nginx, three sync workers under Supervisor, two kinds of record
of one connection, and another connection.  For each of 429 and 503, in seconds and as a date, the API refuses one moment and
would answer again at once; it is the workers that keep quiet.  Exit code 1 unless, from 200 ms after the first refusal until
the time is over, no request of the connection starts, no worker holds a job of its runs, and no attempt is used.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

from stack.private import private_servers
from tests.cleaning import table_names
from tests.e2e.harness import Stack, wait_until
from tests.e2e.sync_lab import SyncLab, stack_settings, sync_lab
from tests.kinto_server import kinto_server

WORKERS = 3
SETTLED_S = 0.2
"""From so long after the first refusal on, nobody may begin."""


def main() -> int:
    """Run every form, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=int, default=60, help="seconds that the API asks for")
    wait_s = parser.parse_args().wait
    directory = Path(tempfile.mkdtemp(prefix="holdfast-quiet-"))
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "FLOWER_URL", "IMPORT_ROOTS"):
        os.environ.pop(name, None)
    broken = 0
    with private_servers(directory) as servers, kinto_server() as kinto:
        stack = Stack(servers, frozenset(table_names(servers)), directory / "var")
        settings = {**stack_settings(kinto, directory / "failpoints"), "HOLDFAST_SYNC_PROCESSES": str(WORKERS)}
        try:
            for status in (429, 503):
                for form in ("seconds", "date"):
                    stack.begin(settings)
                    with sync_lab(stack, kinto) as lab:
                        broken += not quiet(lab, status, form, wait_s)
        finally:
            stack.end()
    return 1 if broken else 0


def quiet(lab: SyncLab, status: int, form: str, wait_s: int) -> bool:
    """One refusal in this form; whether everybody kept to it."""
    for kind in ("items", "parts"):
        lab.insert((f"n{n}" for n in range(200)), kind=kind)
    lab.insert(["o1", "o2"], connection="other", kind="others")
    date = formatdate(time.time() + wait_s + 2, usegmt=True)
    lab.kinto.forget_requests()
    lab.kinto.refuse(status, str(wait_s) if form == "seconds" else date)
    runs = [lab.start(kind=kind, direction="push") for kind in ("items", "parts")]
    wait_until(lambda: any(seen.status == status for seen in lab.kinto.requests()), 20, f"a {status}")
    first = min(seen.at for seen in lab.kinto.requests() if seen.status == status)
    until = first + wait_s if form == "seconds" else parsedate_to_datetime(date).timestamp()
    lab.kinto.calm()
    wait_until(lambda: lab.all_wait(*runs), 20, "every job to wait")
    lab.sync(connection="other", kind="others")
    other_s = time.time() - first
    looks = held = 0
    while time.time() < until - 0.2:
        looks, held = looks + 1, held + lab.held(*runs)
        time.sleep(0.1)
    for run_id in runs:
        lab.wait_ended(run_id, 120)
    asked = [seen for seen in lab.kinto.requests() if seen.server == "front"]
    early = [round(seen.at - first, 2) for seen in asked if first + SETTLED_S < seen.at < until - 0.05]
    in_the_gap = sum(first < seen.at <= first + SETTLED_S for seen in asked)
    later = [seen.at - until for seen in asked if seen.at >= until - 0.05]
    equal = all(lab.local(kind) == lab.remote(kind) for kind in ("items", "parts"))
    kept = not early and not held and not lab.attempts(*runs) and equal
    print(
        f"{status} in {form:<7}: {in_the_gap} requests within {SETTLED_S:g} s of the first refusal, {len(early)} from then until "
        f"{until - first:.1f} s, the next one {min(later):.2f} s after; in {looks} looks {held} jobs held; "
        f"{lab.attempts(*runs)} attempts used; another connection's run ended after {other_s:.1f} s; "
        f"{'both sides equal at the end' if equal else 'UNEQUAL'}{'' if kept else '  BROKEN ' + str(early[:5])}",
        flush=True,
    )
    return kept


if __name__ == "__main__":
    sys.exit(main())
