"""Which kinds of job there are: one line each."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module

from tasks.errors import TasksError
from tasks.kinds import JobKind
from tasks.settings import settings

BUILT_IN: tuple[str, ...] = (
    "tasks.retention:PURGE",
    "tasks.imports.kind:IMPORT",
    "tasks.email.kind:CAMPAIGN",
    "tasks.images.kind:IMAGE_BATCH",
    "tasks.images.kind:IMAGE",
    "tasks.sync.kind:SYNC",
    "tasks.sync.apply_kind:APPLY_PLAN",
    "tasks.sync.webhook_kind:WEBHOOK",
)
"""``module:attribute`` of each kind; ``HOLDFAST_KINDS`` adds a site's own without touching this file."""


class UnknownKind(TasksError):
    """No kind of this name is registered in this process."""

    def __init__(self, name: str) -> None:
        known = ", ".join(sorted(kinds())) or "none"
        super().__init__(
            f"there is no kind of job called {name!r} here; known: {known}. "
            "Add it to HOLDFAST_KINDS or tasks/registry.py"
        )
        self.name = name


@lru_cache(maxsize=1)
def kinds() -> dict[str, JobKind]:
    """Every kind by name."""
    found: dict[str, JobKind] = {}
    for path in (*BUILT_IN, *settings().extra_kinds):
        module_name, _, attribute = path.partition(":")
        kind = getattr(import_module(module_name), attribute, None)
        if not isinstance(kind, JobKind):
            raise TypeError(
                f"{path} is not a JobKind: write it as module:attribute in HOLDFAST_KINDS or tasks/registry.py"
            )
        if kind.name in found:
            raise ValueError(
                f"two kinds are called {kind.name!r}; the name stands in the database, so it must be unique"
            )
        if kind.starts_as in {other.starts_as for other in found.values()}:
            raise ValueError(f"two kinds are started by {kind.starts_as!r}; give one of them another start_name")
        found[kind.name] = kind
    return found


def kind_named(name: str) -> JobKind:
    """The kind; raises `UnknownKind`."""
    try:
        return kinds()[name]
    except KeyError:
        raise UnknownKind(name) from None


def start_name_of(name: str) -> str:
    """The name of a kind's start task; of a kind that this process does not know, what it is by default."""
    kind = kinds().get(name)
    return kind.starts_as if kind is not None else f"start_{name}"


def kinds_by_queue() -> dict[str, list[JobKind]]:
    """The kinds of each queue."""
    by_queue: dict[str, list[JobKind]] = {}
    for kind in kinds().values():
        by_queue.setdefault(kind.queue, []).append(kind)
    return by_queue
