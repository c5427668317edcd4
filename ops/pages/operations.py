"""What takes longer than a request: it goes on in a thread of Flower's process, and a page shows how far it is.

Every letter or run of it is one transaction with its own audit entry.  If Flower dies in the middle, what is done is done, the
rest stands as it stood, and the same operation again does the rest.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

from ops.pages.handler import Page, asked, shared
from runstate import letters
from runstate.audit import Actor
from runstate.errors import NotFound
from runstate.letters import Filter
from tasks import control

KEPT = 200
_PAGE = 500


@dataclass(slots=True)
class Operation:
    """One bulk operation, as its page shows it; counted up by its thread."""

    id: str
    action: str
    user: str
    reason: str
    done: int = 0
    total: int | None = None
    refused: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    error: str = ""
    took_s: float | None = None
    future: Future[None] | None = None

    @property
    def finished(self) -> bool:
        """Whether it came to an end, good or bad."""
        return self.took_s is not None


class Operations:
    """The operations of this process: two at a time, the others wait; the last `KEPT` are remembered."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="holdfast-operation")
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._guard = threading.Lock()

    def begin(self, action: str, user: str, reason: str, work: Callable[[Operation], None]) -> Operation:
        """Start one."""
        operation = Operation(secrets.token_hex(8), action, user, reason)
        with self._guard:
            self._known[operation.id] = operation
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        operation.future = self._pool.submit(_carry_out, operation, work)
        return operation

    async def wait(self, operation: Operation, patience_s: float) -> None:
        """Wait for its end, but not for long."""
        assert operation.future is not None
        await asyncio.wait([asyncio.wrap_future(operation.future)], timeout=patience_s)
        shared().forget()

    def get(self, operation_id: str) -> Operation:
        """One of them.  Raises `NotFound`."""
        found = self._known.get(operation_id)
        if found is None:
            raise NotFound(
                "Flower was restarted since: the audit log tells what was done; the rest can be started again"
            )
        return found


@lru_cache(maxsize=1)
def operations() -> Operations:
    """Those of this process."""
    return Operations()


def _carry_out(operation: Operation, work: Callable[[Operation], None]) -> None:
    began = time.monotonic()
    try:
        work(operation)
    except Exception as error:  # its page is the only place that can tell
        operation.error = f"{type(error).__name__}: {str(getattr(error, 'orig', error))[:500]}"
    operation.took_s = time.monotonic() - began


def replay_all(operation: Operation, which: Filter, actor: Actor, *, per_s: float | None, over_newer: bool) -> None:
    """Replay run by run, so that the page can count; a letter that somebody else takes first is not taken twice."""
    by_run = asked(lambda c: letters.dead_by_run(c, which))()
    operation.total = sum(len(ids) for ids in by_run.values())
    for run_id, ids in by_run.items():
        report = control.replay(Filter(ids=ids, run_id=run_id), actor, per_s=per_s, over_newer=over_newer)
        operation.done += report.taken
        for replay in report.replays:
            if replay.refused:
                operation.refused.append(f"run {run_id[:8]}, {len(replay.letter_ids)} letters: {replay.refused}")
            elif replay.replay_run_id:
                operation.runs.append(replay.replay_run_id)


def discard_all(operation: Operation, which: Filter, actor: Actor) -> None:
    """Discard letter by letter."""
    by_run = asked(lambda c: letters.dead_by_run(c, which))()
    ids = [letter_id for of_run in by_run.values() for letter_id in of_run]
    operation.total = len(ids)
    for letter_id in ids:
        try:
            control.discard(letter_id, actor)
            operation.done += 1
        except letters.LetterNotDead as error:
            operation.refused.append(str(error))


class OperationPage(Page):
    """How far an operation is, and what came of it."""

    tab = "letters"

    async def get(self, operation_id: str) -> None:
        operation = operations().get(operation_id)
        self.page("operation.html", parts={"operation": "operation_state.html"}, operation=operation)
