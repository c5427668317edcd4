"""How fast and in how much memory recipients are read, checked and found complete, before the ledger sees them.

    python -m bench.email_recipients [--rows 1000000]

No server.  Each size runs in a process of its own, whose peak memory is printed; the unit is `csv.reader` over the same file.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from tasks.email.content import content_arguments, pin_content
from tasks.email.message import compile_message
from tasks.email.recipients import read_recipients, recipients_argument


def main() -> int:
    """Print recipients a second and peak memory for growing files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as directory:
        for rows in (options.rows // 100, options.rows // 10, options.rows):
            path = Path(directory) / f"{rows}.csv"
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write("email,name,city\n")
                file.writelines(f"user{n}@host{n % 5000}.example.com,Jürgen {n},Köln\n" for n in range(rows))
            for measure in (plain, checked):
                with context.Pool(1) as pool:
                    seconds, peak_mib = pool.apply(measure, (str(path), rows))
                print(
                    f"{rows:8d} recipients  {measure.__name__:8s} {rows / seconds:9.0f}/s   peak {peak_mib:5.0f} MiB",
                    flush=True,
                )
    return 0


def plain(path: str, rows: int) -> tuple[float, float]:
    """The file read by `csv.reader`, and thrown away."""
    started = time.perf_counter()
    with open(path, encoding="utf-8", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == rows + 1
    return time.perf_counter() - started, _peak_mib()


def checked(path: str, rows: int) -> tuple[float, float]:
    """Recipients as the planning takes them: address normalised, variables there."""
    args = content_arguments(
        template={"html": "<p>{{ name }}, {{ city }}</p>"},
        subject="For {{ name }}",
        sender="a@example.com",
        list_unsubscribe=False,
    )
    message = compile_message(
        pin_content(args, template_roots=[], attachment_roots=[]), campaign_id="b", unsubscriber=None
    )
    started = time.perf_counter()
    found = 0
    for recipient in read_recipients(recipients_argument(path), roots=[Path(path).parent]):
        assert recipient.address is not None and message.missing(recipient.address, recipient.variables) is None
        found += 1
    assert found == rows
    return time.perf_counter() - started, _peak_mib()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
