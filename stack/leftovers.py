"""Processes of a stack whose Supervisor is gone: it was killed, and they went on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from stack.plan import STACK_MARK

_SERVERS = ("mariadbd", "valkey-server")


def stack_processes(var: Path) -> list[int]:
    """Ids of this user's processes that belong to the stack in ``var``.

    By the mark in their environment, or, for the servers, by the directory that they work in: Valkey writes its title over
    its environment.
    """
    mark = f"{STACK_MARK}={var}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0") or _serves(entry, var):
                found.append(int(entry.name))
    return found


def _serves(entry: Path, var: Path) -> bool:
    return _name(int(entry.name)) in _SERVERS and (entry / "cwd").readlink().is_relative_to(var.resolve())


def end_leftovers(var: Path, *, patience_s: float = 20.0) -> list[int]:
    """End whatever still runs, the servers last; returns the ids of the processes that were found.

    TERM first, then KILL after ``patience_s``: jobs that are cut off come back by their lease.
    """
    found = stack_processes(var)
    servers = [pid for pid in found if _name(pid) in _SERVERS]
    for group in ([pid for pid in found if pid not in servers], servers):
        _signal(group, signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while any(_alive(pid) for pid in group) and time.monotonic() < deadline:
            time.sleep(0.05)
        _signal(group, signal.SIGKILL)
        while any(_alive(pid) for pid in group):
            time.sleep(0.05)
    return found


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="ascii", errors="replace").strip()
    return ""


def _alive(pid: int) -> bool:
    """False for a zombie, too: its parent may be one that never looks."""
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    return False
