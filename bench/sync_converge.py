"""The long run of the sync: edits on both sides meanwhile, a tenth of the requests refused, workers killed; then both are equal.

``python -m bench.sync_converge [--edits 1000] [--seconds 200] [--seed 1] [--kills 20]``: a real Kinto behind nginx, which answers
503 to a tenth of the requests, private MariaDB and Valkey, two sync workers under Supervisor.  Runs follow each other without a
pause; an edit is made only while one is active.  A kill is a ``kill -9`` of a worker's child (one time in four, of the whole
worker) that holds a job, and counts if that very claim then ends as lost; besides, children die at each of `POINTS`, twice.

Exit code 1 if any promise was not kept:

    both sides are equal, field by field; every row has one link, and the outbox is empty
    after the last edit, two runs under the same 503s may write; a third one writes nothing on either side
    nothing is lost that no policy decided: `tests.sync_journal` follows every value that anybody wrote
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stack.private import private_servers
from tests.cleaning import table_names
from tests.e2e.harness import Stack
from tests.e2e.sync_lab import SyncLab, stack_settings, sync_lab
from tests.kinto_server import kinto_server
from tests.sync_journal import edit_randomly
from tests.sync_shop import POLICIES

POINTS = (
    "sync.before_write",
    "sync.after_write",
    "checkpoint.before_commit",
    "record.before_commit",
    "claim.after_commit",
    "perform.after",
)
MUST_BE_EMPTY = ("sync_outbox", "sync_rejects", "sync_conflicts", "dead_letters")
RECORDS = 100
WHOLE_WORKER = 0.25


@dataclass(slots=True)
class Killer:
    """kill -9 of workers that hold a job; ``hits``: the claims that were struck (run, job, number of the claim)."""

    lab: SyncLab
    rng: random.Random
    hits: list[tuple[str, int, int]] = field(default_factory=list)
    whole: int = 0

    def strike(self, patience_s: float = 2.0) -> bool:
        """Kill one that is busy, if there is one within ``patience_s``; whether its claim was hit."""
        families = self.lab.families()
        give_up_at = time.monotonic() + patience_s
        while time.monotonic() < give_up_at:
            for run_id, job_no, claim_no, token, worker in self.lab.busy():
                main, children = families.get(worker.partition("@")[0], (0, []))
                if not children:
                    continue
                whole = self.rng.random() < WHOLE_WORKER
                for pid in [*children, *([main] if whole else [])]:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                # Dead now, or dying: a claim that still stands is one that nobody will record.
                if self.lab.holds(run_id, job_no, token):
                    self.hits.append((run_id, job_no, claim_no))
                    self.whole += whole
                    return True
                return False
        return False

    def died(self) -> int:
        """How many of the struck claims ended as lost."""
        return sum(self.lab.outcome(*hit) in ("lost", "crashed") for hit in self.hits)


def main() -> int:
    """Run, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=200.0, help="over how long the edits are spread")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="holdfast-converge-"))
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "FLOWER_URL", "IMPORT_ROOTS"):
        os.environ.pop(name, None)
    with private_servers(directory) as servers, kinto_server() as kinto:
        stack = Stack(servers, frozenset(table_names(servers)), directory / "var")
        try:
            stack.begin(stack_settings(kinto, directory / "failpoints", shop="BUSY_SHOP"))
            with sync_lab(stack, kinto) as lab:
                return converge(lab, options)
        finally:
            stack.end()


def converge(lab: SyncLab, options: argparse.Namespace) -> int:
    """All of it, on this stack."""
    rng = random.Random(options.seed)
    for _ in range(RECORDS):
        lab.records.create()
    lab.sync()
    lab.kinto.flaky()
    lab.kinto.forget_requests()
    killer = Killer(lab, random.Random(options.seed + 1))
    began = time.monotonic()
    with lab.runs_without_pause(allow_deletes=True) as runs:
        at_points = _edit_and_kill(lab, killer, rng, options)
    edited_s = time.monotonic() - began
    lab.failpoints.clear()
    rounds = [_round(lab) for _ in range(2)]
    statuses = Counter(seen.status for seen in lab.kinto.requests())
    lab.kinto.calm()
    audited = lab.database.value("SELECT COUNT(*) FROM sync_audit")
    last = _round(lab)
    problems, fates = _judge(lab, last, lab.database.value("SELECT COUNT(*) FROM sync_audit") - audited)
    died = killer.died()
    if died < options.kills:
        problems.append(f"only {died} of {options.kills} kills hit a claim that ended as lost")
    asked = sum(statuses.values())
    sides = Counter(edit.side for edit in lab.journal.edits)
    print(
        f"seed {options.seed}: {options.edits} edits on {RECORDS} records in {edited_s:.0f} s ({dict(sides)} with those), "
        f"all while one of {len(runs)} runs was active\n"
        f"{died} kills of busy workers hit, {killer.whole} of them whole workers; and at points: {dict(at_points)}\n"
        f"{asked} requests, {statuses[503]} answered 503 ({100 * statuses[503] / asked:.1f} %); all: {dict(statuses)}\n"
        f"writes at the API in the rounds after the last edit: {[*map(len, rounds), len(last)]}\n"
        f"{len(lab.rows.state())} rows and records; what became of each value: {dict(fates)}\n"
        f"claims by outcome: {lab.outcomes()}"
    )
    print("\n".join(problems) or "both sides equal, writes stopped, every row linked once, nothing lost")
    return 1 if problems else 0


def _edit_and_kill(lab: SyncLab, killer: Killer, rng: random.Random, options: argparse.Namespace) -> Counter[str]:
    """Edits at an even pace while a run is active, and kills between them.  How often which point hit."""
    at_points: Counter[str] = Counter()
    pace_s = options.seconds / options.edits
    kill_after = sorted(rng.randrange(options.edits) for _ in range(options.kills))
    shots = sorted((rng.randrange(options.edits), point) for point in POINTS for _ in range(2))
    due = time.monotonic()
    for number in range(options.edits):
        while not lab.is_active():
            time.sleep(0.01)
        edit_randomly(rng, lab.rows if rng.random() < 0.5 else lab.records)
        while shots and shots[0][0] <= number:
            point = shots.pop(0)[1]
            # Loading forgets whom it hit before.
            at_points[point] += len(lab.failpoints.fired(point))
            lab.failpoints.load(point, "kill")
        if kill_after and kill_after[0] <= number and killer.strike():
            kill_after.pop(0)
        due += pace_s
        time.sleep(max(0.0, due - time.monotonic()))
    while kill_after:
        if killer.strike():
            kill_after.pop(0)
    return at_points + Counter({point: len(lab.failpoints.fired(point)) for point in POINTS})


def _round(lab: SyncLab) -> list[str]:
    """One run; what it wrote at the API.  What nginx refused was no write."""
    before = len(lab.writes())
    lab.sync(allow_deletes=True)
    return lab.writes()[before:]


def _judge(lab: SyncLab, last: list[str], audited: int) -> tuple[list[str], Counter[str]]:
    problems = []
    if last:
        problems.append(f"writes go on after two rounds: {last[:5]}")
    if audited:
        problems.append(f"the third round changed {audited} things")
    rows, records = lab.rows.state(), lab.records.state()
    differ = [(n, rows.get(n), records.get(n)) for n in rows.keys() | records.keys() if rows.get(n) != records.get(n)]
    if differ:
        problems.append(f"differ: {differ[:5]}")
    if (linked := lab.database.value("SELECT COUNT(*) FROM sync_links")) != len(rows):
        problems.append(f"{len(rows)} rows, {linked} links")
    left = {t: lab.database.rows(f"SELECT * FROM {t} LIMIT 3") for t in MUST_BE_EMPTY}
    problems += [f"left in {table}: {found}" for table, found in left.items() if found]
    fates, found = lab.journal.fates(rows, lab.decided(), policies=POLICIES)
    return problems + found, fates


if __name__ == "__main__":
    sys.exit(main())
