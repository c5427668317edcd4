"""Peak memory of one attempt, from the kernel (proc(5): VmHWM, clear_refs)."""

from __future__ import annotations

import contextlib


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
