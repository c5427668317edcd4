"""A lock's key is the hash of its name as canonical JSON.

Joined strings let two different names share a key (``"a:b" + "c"`` and ``"a" + "b:c"``), and ``json.dumps`` lets ``{1:
0}`` and ``{"1": 0}``, or an emoji and its two halves.  Here different names have different keys, and equal names the
same one in every process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import BadLockName

Json = Any

LOCK_PREFIX = "holdfast:lock:"
WAKE_PREFIX = "holdfast:wake:"


def canonical_json(name: Json) -> str:
    """``name`` as the one JSON text that stands for it: sorted keys, no spaces, no floats.

    Tuples are arrays.  Raises `BadLockName`, saying where, for anything that is not JSON and for what JSON leaves
    ambiguous: floats (``1.0`` or ``1``? ``NaN``?), keys that are no strings, halves of surrogate pairs.
    """
    try:
        return json.dumps(_checked(name, "name"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except RecursionError:
        raise BadLockName("the lock's name is nested too deeply, or contains itself; give a small flat value") from None


def lock_key(name: Json) -> str:
    """The Redis key of the lock called ``name``, for example ``lock_key(["imports", "flights"])``."""
    return keys_of(canonical_json(name))[0]


def keys_of(canonical: str) -> tuple[str, str]:
    """The key of the lock with this canonical name, and of the list on which those who wait for it are woken."""
    digest = digest_of(canonical)
    return LOCK_PREFIX + digest, WAKE_PREFIX + digest


def digest_of(canonical: str) -> str:
    """What stands for a canonical name within a key."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checked(value: Json, where: str) -> Json:
    match value:
        case None | bool() | int():
            return value
        case str():
            return _checked_text(value, where)
        case float():
            raise BadLockName(f"{where} = {value!r}: floats have no single spelling; give an integer or a string")
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise BadLockName(f"{where} has the key {key!r}: JSON keys are strings; write {str(key)!r}")
            return {_checked_text(key, where): _checked(item, f"{where}[{key!r}]") for key, item in value.items()}
        case bytes() | bytearray():
            raise BadLockName(f"{where} is bytes: decode it to a string")
        case Sequence():
            return [_checked(item, f"{where}[{index}]") for index, item in enumerate(value)]
        case _:
            raise BadLockName(
                f"{where} is a {type(value).__name__}: a lock's name is JSON (None, bool, int, str, list, dict)"
            )


def _checked_text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadLockName(
            f"{where} = {text!r}: half of a surrogate pair is not text; decode the input properly"
        ) from None
    return text
