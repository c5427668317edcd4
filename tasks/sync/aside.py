"""A call that is made in another thread while this one does something else: the API and the database, each waiting for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class Forgotten(Exception):
    """Nobody came for what the call returned."""


class Aside(Generic[T]):
    """``call()`` in a thread of its own, behind the same gate (`tasks.sync.gate`) as whoever makes this.

    ``keep_s``  how long to keep what it returned where nobody comes for it; None: as long as this object lives
    """

    def __init__(self, call: Callable[[], T], *, keep_s: float | None = None) -> None:
        self._call = call
        self._keep_s = keep_s
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._fetched = threading.Event()
        # A daemon: a process that is told to end does not wait for an API.
        threading.Thread(target=copy_context().run, args=(self._run,), name="sync-aside", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:
            self._error = error
        self._ended.set()
        if self._keep_s is not None and not self._fetched.wait(self._keep_s):
            self._result.clear()

    def ended(self) -> None:
        """Return once the call has ended, whatever became of it."""
        self._ended.wait()
        self._fetched.set()

    def result(self) -> T:
        """What the call returned, once.  Raises what it raised, or `Forgotten`."""
        self.ended()
        if self._error is not None:
            raise self._error
        try:
            return self._result.pop()
        except IndexError:
            raise Forgotten from None
