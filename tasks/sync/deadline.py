"""An end to a whole request: a server that sends a byte a minute keeps every time-out of a socket happy, for ever.

One thread per process looks at what is under way, and cuts the connection of what is over its time.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType


class Deadline:
    """``seconds`` from when the block is entered; ``expired`` tells an end of ours from one of the other side."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self.expired = False
        self._wire: socket.socket | None = None
        self._to_close: list[socket.socket] = []

    def watch(self, wire: socket.socket | None) -> None:
        """The connection to cut.  Raises `TimeoutError` if it is too late already."""
        self._wire = wire
        if self.expired or time.monotonic() >= self.at:
            self.expire()
            raise TimeoutError("the time for the whole request is over")

    def expire(self) -> None:
        """Cut the connection: whoever reads from it or writes to it gets an error now."""
        self.expired = True
        if self._wire is not None:
            with suppress(OSError):
                self._wire.shutdown(socket.SHUT_RDWR)

    def close_at_end(self, wire: socket.socket) -> None:
        """Close this when the block is left: nobody needs it after that."""
        self._to_close.append(wire)

    def __enter__(self) -> Deadline:
        _watcher.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _watcher.remove(self)
        for wire in self._to_close:
            wire.close()


class _Watcher:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way: set[Deadline] = set()
        self._looks_at = float("inf")
        self._running = False

    def add(self, deadline: Deadline) -> None:
        with self._changed:
            self._under_way.add(deadline)
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="http-deadlines", daemon=True).start()
            elif deadline.at < self._looks_at:
                self._changed.notify()

    def remove(self, deadline: Deadline) -> None:
        with self._changed:
            self._under_way.discard(deadline)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for deadline in [one for one in self._under_way if one.at <= now]:
                    # Under the lock, which `remove` needs: a connection that is done must not be cut.
                    deadline.expire()
                    self._under_way.discard(deadline)
                self._looks_at = min((one.at for one in self._under_way), default=float("inf"))
                self._changed.wait(None if self._looks_at == float("inf") else self._looks_at - now)


_watcher = _Watcher()


def _after_fork() -> None:
    # Threads do not survive a fork, and the lock may have been held.
    global _watcher
    _watcher = _Watcher()


os.register_at_fork(after_in_child=_after_fork)
