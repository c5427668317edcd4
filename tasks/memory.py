"""Memory of a worker's child: its limit, and the peak of one attempt (proc(5): VmHWM, clear_refs; setrlimit(2))."""

from __future__ import annotations

import contextlib
import resource


def reset_peak_memory() -> None:
    """Start counting this process' peak from what it holds now; where the kernel does not let us, the peak is the process'."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")


def peak_memory_kb() -> int | None:
    """The most resident memory since the last reset, in KiB; None where the kernel does not say."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return None


def limit_memory(limit_mb: int) -> None:
    """Give this process at most ``limit_mb`` MiB of data.

    A job that asks for more gets a `MemoryError`, which is an error like any other: retried, then a dead letter.  Without
    a limit the kernel ends some process of the host instead, which may be MySQL.  Never raises the limit that is set.
    """
    wanted = limit_mb * 1024 * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
