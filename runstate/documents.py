"""JSON as it stands in the tables: canonical, so that equal values are equal texts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

MAX_ERROR_CHARS = 4_000
MAX_TRACEBACK_CHARS = 60_000


def dump(value: Any) -> str:
    """Canonical JSON of ``value``; raises TypeError or ValueError for what JSON does not have (NaN, bytes, dates)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def load(text: str | None) -> Any:
    """The value of a JSON column, None for NULL."""
    return None if text is None else json.loads(text)


def admission_hash(kind: str, admission_key: str) -> str:
    """The name of a key across Redis and MySQL: kinds do not share keys, and no joining of strings can confuse two."""
    return hashlib.sha256(dump([kind, admission_key]).encode()).hexdigest()


def capped(text: str | None, limit: int = MAX_ERROR_CHARS) -> str | None:
    """``text`` with its middle left out where it is longer than ``limit`` characters; both ends say most of an error."""
    if text is None or len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3 - 40
    return f"{text[:head]} … [{len(text) - head - tail} characters left out] … {text[-tail:]}"
