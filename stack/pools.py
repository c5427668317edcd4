"""How many processes of each program: defaults for two cores, each overridden by an environment variable of its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stack.errors import StackError


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of workers on one queue.

    ``processes``     Celery workers, each with children of its own
    ``concurrency``   children of each worker
    ``max_tasks``     jobs after which a child is replaced: bounds what a leak can hold
    ``max_memory_kb`` peak resident KiB after which a child is replaced, checked between jobs
    """

    queue: str
    processes: int
    concurrency: int
    max_tasks: int
    max_memory_kb: int


POOLS = (
    # Two children: a start that waits for a contended lock must not hold up the others.
    Pool("control", processes=1, concurrency=2, max_tasks=1000, max_memory_kb=300_000),
    Pool("imports", processes=1, concurrency=2, max_tasks=500, max_memory_kb=400_000),
    Pool("email", processes=1, concurrency=1, max_tasks=500, max_memory_kb=300_000),
    Pool("sync", processes=1, concurrency=1, max_tasks=500, max_memory_kb=300_000),
    Pool("images", processes=1, concurrency=1, max_tasks=100, max_memory_kb=800_000),
)

_OTHERS = {
    "HOLDFAST_DISPATCHERS": 2,
    "HOLDFAST_BEATS": 1,
    "HOLDFAST_FLOWERS": 1,
    # Longer than the longest job may take (JobKind.timeout_s), so that a stop never cuts one off.
    "HOLDFAST_STOP_WAIT_S": 960,
}


def pool_numbers(environ: Mapping[str, str]) -> dict[str, str]:
    """Every number that supervisord.conf asks for, as environment variables; raises `StackError` for one that is none.

    For example ``HOLDFAST_IMPORTS_PROCESSES``, ``HOLDFAST_IMPORTS_CONCURRENCY``; 0 processes: no such pool on this host.
    """
    defaults = dict(_OTHERS)
    for pool in POOLS:
        for name in ("processes", "concurrency", "max_tasks", "max_memory_kb"):
            defaults[f"HOLDFAST_{pool.queue}_{name}".upper()] = getattr(pool, name)
    numbers = {}
    for name, default in defaults.items():
        text = environ.get(name) or str(default)
        least = 0 if name.endswith(("_PROCESSES", "_DISPATCHERS", "_BEATS", "_FLOWERS")) else 1
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise StackError(f"{name}={text!r}: give a whole number, at least {least}")
        numbers[name] = text
    return numbers
