"""What must not be shown: values of names that sound like secrets, and secrets inside texts.

The names are those that people use for what opens something.  A bare ``key`` is not among them: our kinds use it for the
columns of a table; ``api_key``, ``signing_key`` and the like are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ops.errors import UsageError
from stack.redact import redact

MASK = "••••••"
_SECRET = re.compile(
    r"pass(?:word|wd|phrase|code)?$|password|passwd|passphrase|^pwd$|_pwd$|secret|token|credential|authori[sz]ation|^auth$"
    r"|bearer|cookie|session_?id|signature|(?:^|_)(?:pin|otp|cvv|iban|ssn)$"
    r"|(?:api|app|access|private|secret|signing|encryption|auth|account|client|service|shared|license|ssh|ssl|tls|aes|rsa|hmac)_?key"
)


def is_secret(name: str) -> bool:
    """Whether a value of this name is not for eyes: ``apiKey``, ``API-KEY`` and ``api_key`` are one."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _SECRET.search(re.sub(r"[^a-z0-9]+", "_", words.lower())) is not None


def masked(value: Any, name: str = "") -> Any:
    """``value`` as it may be shown: the same shape, secrets as `MASK`; what is empty stays, it is no secret."""
    if name and is_secret(name) and value not in (None, "", [], {}) and not isinstance(value, bool):
        return MASK
    match value:
        case Mapping():
            return {key: masked(item, str(key)) for key, item in value.items()}
        case list() | tuple():
            return [masked(item) for item in value]
        case str():
            return masked_text(value)
        case _:
            return value


def masked_text(text: str) -> str:
    """A text without what looks like a secret in it: ``password=…``, users in addresses, bearer tokens."""
    return redact(text).replace("***", MASK)


def unmasked(edited: Any, original: Any, where: str = "payload") -> Any:
    """``edited`` with the secrets of ``original`` put back where the mask still stands.

    A mask is never written: raises `UsageError` where one stands that stood for nothing.
    """
    return _restored(edited, original, masked(original), where)


def _restored(edited: Any, original: Any, shown: Any, where: str) -> Any:
    if isinstance(edited, str) and MASK in edited:
        if edited == shown and shown != original:
            return original
        raise UsageError(
            f"{where} holds the mask {MASK}: leave a masked value exactly where and as it is, or write the real value in full"
        )
    if isinstance(edited, dict):
        for key in edited:
            if MASK in key:
                raise UsageError(f"{where} has the mask {MASK} in a name: write the real name")
        old, seen = (original, shown) if isinstance(original, dict) and isinstance(shown, dict) else ({}, {})
        return {key: _restored(item, old.get(key), seen.get(key), f"{where}.{key}") for key, item in edited.items()}
    if isinstance(edited, list):
        # With another number of items, which secret belongs to which is not known any more.
        same = isinstance(original, list) and isinstance(shown, list) and len(original) == len(edited)
        pairs = zip(original, shown, strict=True) if same else [(None, None)] * len(edited)
        return [
            _restored(item, old_item, seen_item, f"{where}[{place}]")
            for place, (item, (old_item, seen_item)) in enumerate(zip(edited, pairs, strict=True))
        ]
    return edited
