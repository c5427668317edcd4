"""The worker's end of the decoder process: started when needed, kept for the next image, killed when it breaks a limit."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tasks.images.errors import ImageError
from tasks.images.limits import Limits

PROJECT: Final = Path(__file__).resolve().parents[2]
TICK_S: Final = 0.25
IMAGES_EACH: Final = 1000
"""After so many a decoder is replaced: whatever a library leaks stays bounded."""
START_S: Final = 30.0
"""The time limit of the first image counts from here on later, for importing libvips takes a moment."""

_ENVIRONMENT: Final = {
    # libvips: no loader that was not made for hostile files; no warnings; one thread, for there is a worker per core.
    "VIPS_BLOCK_UNTRUSTED": "1",
    "VIPS_WARNING": "0",
    "VIPS_CONCURRENCY": "1",
    # glibc: two arenas, and large blocks straight back to the system, so that a giant leaves nothing behind.
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
}
_NO_MEMORY: Final = (
    "failed to allocate",
    "out of memory",
    "MemoryError",
    "bad_alloc",
    "unable to allocate",
    "creating thread",
)


class Decoder:
    """One decoder process; for one thread at a time, in the process that started it."""

    def __init__(self, memory_mb: int) -> None:
        self.memory_mb = memory_mb
        self._images = 0
        self._errors = os.memfd_create("decoder-stderr", os.MFD_CLOEXEC)
        # Appending, so that emptying it between images leaves no hole.
        fcntl.fcntl(self._errors, fcntl.F_SETFL, os.O_APPEND)
        self._channel, theirs = socket.socketpair()
        self.pid_of_owner = os.getpid()
        try:
            self._process = self._start(theirs)
        except BaseException:
            self._channel.close()
            os.close(self._errors)
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Of the decoder process."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it is ours, alive, and not due to be replaced."""
        return self.pid_of_owner == os.getpid() and self._images < IMAGES_EACH and self._process.poll() is None

    def ask(
        self, request: dict[str, Any], source: int, limits: Limits, between: Callable[[], Any] | None
    ) -> dict[str, Any]:
        """The answer to ``request`` about the open file ``source``.

        Raises `ImageError`: time_limit, memory_limit, decoder_killed, and what ``between`` raises; the process is gone then.
        """
        try:
            os.ftruncate(self._errors, 0)
            os.lseek(source, 0, os.SEEK_SET)
            until = time.monotonic() + limits.time_s + (0 if self._images else START_S)
            self._images += 1
            self._send(request, source)
            return self._receive(until, limits.time_s, between)
        except BaseException:
            # It may be in the middle of something, and would answer the next question with this one's answer.
            self.close()
            raise

    def close(self) -> None:
        """Kill the process and reap it: no zombie, no descriptor is left."""
        if self.pid_of_owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._channel.close()
        with contextlib.suppress(OSError):
            os.close(self._errors)

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        # The signal at the parent's death is that of the parent's *thread* (prctl(2)): asked for in the main one alone.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        arguments = [str(theirs.fileno()), str(self.memory_mb), str(parent)]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.images.decoder_main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            pass_fds=(theirs.fileno(),),
            # Nothing of the worker's environment: what parses hostile files need not know the database's password.
            env=_ENVIRONMENT | {"PYTHONPATH": str(PROJECT), "PATH": os.environ.get("PATH", os.defpath)},
            cwd="/",
        )

    def _send(self, request: dict[str, Any], source: int) -> None:
        data = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        self._channel.settimeout(START_S)
        try:
            sent = socket.send_fds(self._channel, [data], [source])
            self._channel.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError, TimeoutError) as error:
            raise self._died() from error

    def _receive(self, until: float, time_s: float, between: Callable[[], Any] | None) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        data = b""
        while not data.endswith(b"\n"):
            if poll.poll(max(0.0, min(TICK_S, until - time.monotonic())) * 1000):
                try:
                    more = self._channel.recv(256 * 1024)
                except ConnectionResetError:
                    more = b""
                if not more:
                    raise self._died()
                data += more
            elif time.monotonic() >= until:
                raise ImageError("time_limit", f"{time_s:g} s")
            if between is not None:
                between()
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _died(self) -> ImageError:
        """Why the process is gone, by what it said and how it ended."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        said = os.pread(self._errors, 16_384, max(0, os.fstat(self._errors).st_size - 16_384)).decode(
            "utf-8", "replace"
        )
        if any(words in said for words in _NO_MEMORY):
            return ImageError("memory_limit", f"{self.memory_mb} MiB")
        how = f"exit status {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        last = said.strip().splitlines()[-1:]
        return ImageError("decoder_killed", "; ".join([how, *(line[:200] for line in last)]))
