"""Where something stands in a JSON answer: names joined by dots, ``*`` for each item of a list (``data.*.id``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def values_at(value: Any, path: str) -> list[Any]:
    """Everything that stands at ``path``, in order; nothing where a part of the way is missing.  ``""`` is the value itself."""
    found = [value]
    for name in path.split(".") if path else ():
        found = [item for parent in found for item in _step(parent, name)]
    return found


def value_at(value: Any, path: str) -> Any:
    """The first of what stands at ``path``; None where there is nothing."""
    return next(iter(values_at(value, path)), None)


def _step(parent: Any, name: str) -> Sequence[Any]:
    if name == "*":
        return parent if isinstance(parent, list) else ()
    if isinstance(parent, Mapping) and name in parent:
        return (parent[name],)
    return ()
