"""Values as JSON and back, so that what one Flower has read another can show.

JSON, never pickle: whoever can write to Redis must not be able to run code here.  A class is named by its module; only values
(dataclasses and enums) of our own packages that this process has loaded are made.
"""

from __future__ import annotations

import base64
import dataclasses
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

_OURS = ("locks", "runstate", "tasks", "ops")


class NotSent(TypeError):
    """A value that has no form on the wire, or what came from there has none here (another version wrote it)."""


def pack(value: Any) -> Any:
    """JSON for ``value``.  Raises `NotSent`."""
    match value:
        case Enum():
            return {"enum": _name(type(value)), "value": value.value}
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [pack(item) for item in value]
        case tuple():
            return {"tuple": [pack(item) for item in value]}
        case Mapping():
            return {"map": [[pack(key), pack(item)] for key, item in value.items()]}
        case datetime():
            return {"at": value.isoformat()}
        case timedelta():
            return {"seconds": value.total_seconds()}
        case Decimal():
            return {"decimal": str(value)}
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {"object": _name(type(value)), "fields": {name: pack(getattr(value, name)) for name in fields}}
    raise NotSent(f"{type(value).__name__} cannot be sent")


def unpack(sent: Any) -> Any:
    """What was packed.  Raises `NotSent`."""
    if isinstance(sent, list):
        return [unpack(item) for item in sent]
    if not isinstance(sent, dict):
        return sent
    try:
        match sent:
            case {"enum": name, "value": value}:
                return _class(name)(value)
            case {"object": name, "fields": dict(fields)}:
                return _class(name)(**{str(key): unpack(item) for key, item in fields.items()})
            case {"tuple": list(items)}:
                return tuple(unpack(item) for item in items)
            case {"map": list(pairs)}:
                return {unpack(key): unpack(item) for key, item in pairs}
            case {"at": text}:
                return datetime.fromisoformat(text)
            case {"seconds": seconds}:
                return timedelta(seconds=seconds)
            case {"decimal": text}:
                return Decimal(text)
            case {"bytes": text}:
                return base64.b64decode(text)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NotSent(f"{type(error).__name__}: {str(error)[:200]}") from error
    raise NotSent(f"nothing is known of {sorted(sent)[:3]}")


def _name(of: type) -> str:
    return f"{of.__module__}:{of.__qualname__}"


def _class(name: str) -> Any:
    module, _, path = str(name).partition(":")
    found: Any = sys.modules.get(module) if module.partition(".")[0] in _OURS else None
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not (dataclasses.is_dataclass(found) or issubclass(found, Enum)):
        raise NotSent(f"{name} is no value of ours")
    if _name(found) != name:
        raise NotSent(f"{name} is {_name(found)}")
    return found
