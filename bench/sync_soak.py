"""The state machine of the sync, for as long as one likes: `tests.sync_machine` on a real Kinto behind nginx.

``python -m bench.sync_soak [--examples 100] [--steps 25] [--seed 1]``: private MariaDB and Valkey, Kinto and nginx; syncs run in
this process.  A failure is shrunk and shown as the steps that lead to it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from stack.private import private_servers
from tests.kinto_server import PASSWORD, USER, kinto_server


def main() -> int:
    """Run, and say how often what struck."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="holdfast-sync-soak-"))
    with private_servers(directory) as servers, kinto_server() as kinto:
        os.environ.update(servers.environment())
        os.environ["HOLDFAST_SYNC"] = "tests.sync_shop:BUSY_SHOP"
        os.environ["SYNC_CONNECTION_SHOP"] = kinto.url.replace("://", f"://{USER}:{PASSWORD}@")
        # Imported now: the application reads its settings when it is.
        from tests.integration.machinery import execute
        from tests.sync_api import ITEMS
        from tests.sync_machine import TwoSides, machine_settings

        execute(ITEMS)
        machine = TwoSides.on(kinto)
        began = time.monotonic()
        quiet = machine_settings(options.examples, options.steps, derandomize=False)
        seed(options.seed)(machine)
        run_state_machine_as_test(machine, settings=quiet)
        print(
            f"seed {options.seed}: {options.examples} sequences of {options.steps} steps in {time.monotonic() - began:.0f} s; "
            f"faults that struck: {dict(machine.fired)}; both sides equal and nothing lost each time"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
