"""The long fault runs: the real import, rows into a table without a unique key, broken in every way that the promise names.

``python -m bench.soak [--rounds 1] [--rows 300000] [--seed 1] [--kills 50] [--only kill_child,…]``.  One run a fault and round,
on private servers; where and when each strikes comes from the seed.  Exit code 1 if any promise was not kept.

    fired     how often it struck
    rows      expected and found; dup: rows that are there twice
    ledger    the run's counters against COUNT over jobs, sums of their results against the rows, dead letters, jobs done twice
    lost      claims that were taken from their workers: crashes + lost nodes
    pick-up   from when what was killed answers again (or its place was taken) until work goes on and the last lost job is
              claimed again, in seconds; the promise is lease + 2
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.soak_faults import COMMITS, FAULTS, Fault, Struck, again_and_again
from stack.endpoints import HOST
from stack.private import Servers, private_servers
from tests.cleaning import table_names
from tests.e2e.faults import PROMISE_S, Lab, stack_settings
from tests.e2e.faults_import import Found, GeneratedImport
from tests.e2e.faults_proxy import CommitProxy
from tests.e2e.harness import Stack

JOBS = 60
LEASE_S = 15
"""Of the kind `import`."""
HEAD = (
    f"{'fault':<31}{'fired':>6}{'rows':>9}{'found':>9}{'dup':>5}  {'ledger':<8}{'run':<11}{'dead':>4}{'lost':>6}"
    f"{'pick-up':>9}{'promise':>9}{'all s':>8}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One run of the table."""

    fault: Fault
    struck: Struck
    generated: GeneratedImport
    found: Found
    seconds: float

    @property
    def pick_up_s(self) -> float:
        """Until work went on and every lost job was claimed again."""
        return max(self.found.pick_up_s(self.struck.back_at), self.generated.first_claim_s(self.struck.back_at))

    @property
    def promise_s(self) -> float:
        return self.fault.lease_s + PROMISE_S

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return not self.found.problems and (not self.fault.measured or self.pick_up_s <= self.promise_s)

    def __str__(self) -> str:
        found = self.found
        pick_up = f"{self.pick_up_s:>9.1f}{self.promise_s:>9.0f}" if self.fault.measured else f"{'-':>9}{'-':>9}"
        return (
            f"{self.fault.name:<31}{self.struck.times:>6}{self.generated.rows:>9}{found.rows:>9}{found.rows - found.distinct:>5}"
            f"  {'equal' if not found.problems else 'UNEQUAL':<8}{found.status:<11}{found.dead_letters:>4}"
            f"{found.crashes + found.lost_nodes:>6}{pick_up}{self.seconds:>8.1f}{'' if self.kept else '  BROKEN'}"
        )


def main() -> int:
    """Run every fault ``--rounds`` times and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=50, help="of the run that is hit again and again")
    parser.add_argument("--only", default="", help="names of faults, with commas")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    everything = [*FAULTS, again_and_again(options.kills), *COMMITS]
    if unknown := only - {fault.name for fault in everything}:
        parser.error(
            f"no fault is called {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in everything)}"
        )
    chosen = [fault for fault in everything if not only or fault.name in only]
    broken = 0
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="holdfast-soak-") as directory, private_servers(Path(directory)) as servers:
        for number in range(options.rounds):
            for line in _round(servers, Path(directory), chosen, rows=options.rows, seed=options.seed + number):
                print(line, flush=True)
                for problem in line.found.problems:
                    print(f"    {problem}")
                broken += not line.kept
    print(f"{broken} broken" if broken else "every promise kept")
    return 1 if broken else 0


def _round(servers: Servers, directory: Path, faults: list[Fault], *, rows: int, seed: int) -> Iterator[Line]:
    with _stack(servers, directory / "var") as stack:
        for fault in faults:
            if fault not in COMMITS:
                yield _run(stack, fault, rows=rows, seed=seed)
    if not any(fault in COMMITS for fault in faults):
        return
    with CommitProxy(HOST, servers.endpoints.mariadb_port) as proxy:
        behind = replace(servers, endpoints=replace(servers.endpoints, mariadb_port=proxy.port))
        with _stack(behind, directory / "var-behind-proxy") as stack:
            for fault in faults:
                if fault in COMMITS:
                    yield _run(stack, fault, rows=rows, seed=seed, proxy=proxy)


@contextmanager
def _stack(servers: Servers, var: Path) -> Iterator[Stack]:
    # What the user's own stack is set to must not reach this one.
    for name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "FLOWER_URL", "IMPORT_ROOTS"):
        os.environ.pop(name, None)
    stack = Stack(servers, frozenset(table_names(servers)), var)
    try:
        yield stack
    finally:
        stack.end()


def _run(stack: Stack, fault: Fault, *, rows: int, seed: int, proxy: CommitProxy | None = None) -> Line:
    if proxy:
        proxy.lose(share=0, most=0, seed=0)
    stack.begin(stack_settings(stack.var / "failpoints"))
    began = time.monotonic()
    with Lab(stack, seed=seed) as lab:
        if proxy:
            proxy.lost.clear()
            lab.proxy = proxy
        generated = lab.start_import(rows=rows, jobs=JOBS, kind=fault.kind)
        struck = fault.strike(lab, generated)
        found = generated.wait_ended(timeout_s=600)
        if struck.after:
            struck.after()
            found = generated.found()
    return Line(fault, struck, generated, found, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
