"""Versions of records, and how a write is bound to one.

A version is a text: ``etag:…`` where the API compares it itself, in the same step as it writes (If-Match, RFC 9110, section
13.1.1).  ``seen:…`` is a digest of what was seen: then the record is read first and compared.  An edit between that read and the
write is lost, and no client can close this gap; it is as long as one request, and if the read has an ETag there is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

ETAG, SEEN = "etag:", "seen:"


def etag_version(etag: str | None) -> str | None:
    """The version for an ``ETag``; None for none, and for weak ones: If-Match never fits them (RFC 9110, section 8.8.3.2)."""
    if not etag or etag.startswith(("W/", "w/")):
        return None
    return ETAG + etag


def seen_version(fields: Mapping[str, Any], updated_at: datetime | None) -> str:
    """The version for what was seen: equal for equal fields and equal time of change, whatever their order."""
    text = json.dumps([fields, updated_at and updated_at.isoformat()], sort_keys=True, separators=(",", ":"))
    return SEEN + hashlib.sha256(text.encode()).hexdigest()[:32]


def if_match(version: str | None) -> dict[str, str]:
    """The header that binds a write to this version, if the API can compare it itself; else none."""
    if version is None or not version.startswith(ETAG):
        return {}
    return {"If-Match": version[len(ETAG) :]}


def must_read_first(version: str | None) -> bool:
    """Whether only reading can tell that the record is still at this version."""
    return version is not None and not version.startswith(ETAG)
