"""Long lists of a start: stored in parts beside the run's row, and streamed back wherever its arguments are read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from runstate import documents, spool
from runstate.transaction import in_transaction
from tasks import clients
from tasks.kinds import MAX_ARGS_BYTES, Args, JobKind

MARK = "$spooled"
"""``{"$spooled": {"items": 100000, "sha256": "…"}}`` stands in the run's row in the place of the list."""


def set_aside(kind: JobKind, args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The arguments as they go into the row, and the lists to be stored beside it: the longest first, until the rest fits."""
    fitting = dict(args)
    aside: dict[str, list[Any]] = {}
    texts = {name: documents.dump(args[name]) for name in kind.spooled if isinstance(args.get(name), list)}
    for name in sorted(texts, key=lambda name: len(texts[name]), reverse=True):
        if len(documents.dump(fitting).encode()) <= MAX_ARGS_BYTES:
            break
        aside[name] = args[name]
        digest = hashlib.sha256(texts[name].encode()).hexdigest()
        # The hash stands for the list where two starts are compared (idempotency keys).
        fitting[name] = {MARK: {"items": len(args[name]), "sha256": digest}}
    return fitting, aside


def with_lists(args: Args, run_id: str) -> Args:
    """The arguments of a run, each list that was set aside replaced by a `SpooledList`."""
    if not any(_is_mark(value) for value in args.values()):
        return args
    return {
        name: SpooledList(run_id, name, value[MARK]["items"]) if _is_mark(value) else value
        for name, value in args.items()
    }


def _is_mark(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {MARK}


class SpooledList:
    """A list of a run's arguments, read part by part from MySQL each time it is iterated; constant memory."""

    def __init__(self, run_id: str, name: str, items: int) -> None:
        self._run_id = run_id
        self._name = name
        self._items = items

    def __len__(self) -> int:
        return self._items

    def __iter__(self) -> Iterator[Any]:
        part_no = 0
        while (part := in_transaction(clients.engine(), self._reader(part_no))) is not None:
            yield from part
            part_no += 1

    def __repr__(self) -> str:
        return f"<list of {self._items}>"

    def _reader(self, part_no: int) -> Any:
        def read(connection: Connection) -> list[Any] | None:
            return spool.read_part(connection, self._run_id, self._name, part_no)

        return read
