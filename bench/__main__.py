"""``python -m bench [NAME …]``: the benchmarks, one after another, each with what it is compared to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BENCHMARKS = {
    "locks": ["bench.locks"],
    "limits": ["bench.limits"],
    "noop": ["bench.noop"],
    "parse": ["bench.imports_parse"],
    "load": ["bench.imports_load"],
    "memory": ["bench.imports_load", "--memory"],
    "flights": ["bench.imports_flights"],
    "purge": ["bench.purge"],
    "pages": ["bench.pages"],
    "images": ["bench.images_batch"],
    "images-memory": ["bench.images_batch", "--memory"],
    "images-fit": ["bench.images_fit"],
    "images-variants": ["bench.images_variants"],
    "images-decoder": ["bench.images_memory"],
    "images-quality": ["bench.images_quality"],
    "images-bombs": ["bench.images_corpus"],
    "email-rate": ["bench.email_rate"],
    "email-speed": ["bench.email_speed"],
    "email-memory": ["bench.email_memory"],
    "email-render": ["bench.email_render"],
    "email-recipients": ["bench.email_recipients"],
    "sync": ["bench.sync_speed"],
    "sync-quiet": ["bench.sync_quiet"],
}


def main(names: list[str]) -> int:
    """Run those that are named, or all; 1 if one failed."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", *BENCHMARKS[name]], cwd=PROJECT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
