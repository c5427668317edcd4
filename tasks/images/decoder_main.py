"""The decoder process: ``python -m tasks.images.decoder_main FD MEMORY_MB PARENT_PID``.

It reads requests from the socket ``FD``, one line of JSON each with the original's descriptor beside it, and answers each with
one line.  It alone imports libvips.  It ends when the socket does, so with its worker, however that dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from tasks.images.errors import ImageError
from tasks.images.limits import MIB, Limits
from tasks.images.variants import Variant

MAX_REQUEST_BYTES = 4 * MIB
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Answer requests until there is nobody to ask."""
    descriptor, memory_mb, parent = (int(argument) for argument in arguments)
    _belong_to(parent)
    _limit(memory_mb)
    with socket.socket(fileno=descriptor) as channel:
        threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
        while (request := _receive(channel)) is not None:
            answer = _answer(*request)
            channel.sendall(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
    return 0


def _belong_to(parent: int) -> None:
    """Leave the worker's signals to the worker; be gone with it, and be the first to go when the host runs out of memory."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        # proc(5): 1000 would make it the first at any size.
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")
    if parent and hasattr(ctypes, "CDLL"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _limit(memory_mb: int) -> None:
    """All private writable memory counts (setrlimit(2), since Linux 4.7), so what libvips takes by mmap does too."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * MIB, memory_mb * MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with(channel: socket.socket) -> None:
    """End this process once the other end is closed, in the middle of an image too."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLHUP)
    poll.poll()
    os._exit(0)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next request and the descriptor that came with it; None at the end."""
    data, descriptors, _, _ = socket.recv_fds(channel, 64 * 1024, 1)
    while data and not data.endswith(b"\n") and len(data) < MAX_REQUEST_BYTES:
        more = channel.recv(64 * 1024)
        data = data + more if more else b""
    if not data:
        return None
    return json.loads(data), descriptors[0]


def _answer(request: dict[str, Any], descriptor: int) -> dict[str, Any]:
    # Only here: libvips starts threads and takes memory, and must not be in a process that forks.
    from tasks.images.render import Task, render

    # What is loaded stays: collecting after each image then looks at the image's objects alone.
    gc.freeze()
    _reset_peak()
    try:
        tasks = [
            Task(Variant.of_json(request["variants"][number]), image_format, Path(path))
            for number, image_format, path in request["encodings"]
        ]
        outputs = render(descriptor, request["format"], tasks, Limits.of_json(request["limits"]))
        return {"outputs": outputs, "peak_kb": _peak_kb()}
    except ImageError as error:
        return {"error": [error.code, error.detail], "peak_kb": _peak_kb()}
    except MemoryError:
        return {"error": ["memory_limit", ""], "peak_kb": _peak_kb()}
    finally:
        os.close(descriptor)
        # Pictures are cycles of cffi objects now and then: what one image took must be free before the next.
        gc.collect()


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_kb() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
