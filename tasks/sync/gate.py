"""Who is asked before each request, and told of each answer: the shared limits, which a connector knows nothing of.

A call of a connector may make more than one request (read, compare, write); each of them passes the gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Gate(Protocol):
    """What keeps requests back."""

    def before_request(self) -> None:
        """Return when a request may start now; else raise `RateLimited` or `Unavailable`, as the API would, and none is made.

        One of those, so that a connector in the middle of several writes can still tell what became of the first ones.
        """

    def after_answer(self, status: int | None, wait_s: float | None) -> None:
        """An answer came (``status``), or none (None); the other side asks for ``wait_s`` seconds without requests.

        What it raises reaches the caller only with a 429 or 503: other answers may tell of something that was done.
        """


_gate: ContextVar[Gate | None] = ContextVar("gate", default=None)


@contextmanager
def gated(gate: Gate) -> Iterator[None]:
    """Every request of the block passes ``gate``."""
    token = _gate.set(gate)
    try:
        yield
    finally:
        _gate.reset(token)


def before_request() -> None:
    """Ask the gate, if there is one."""
    if (gate := _gate.get()) is not None:
        gate.before_request()


def after_answer(status: int | None, wait_s: float | None) -> None:
    """Tell the gate, if there is one."""
    if (gate := _gate.get()) is not None:
        gate.after_answer(status, wait_s)
