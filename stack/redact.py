"""Blotting out what looks like a secret in a text that operators will see."""

from __future__ import annotations

import re

_NAMES = (
    "pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    "|authori[sz]ation|credentials?|cookie|session[_-]?id"
)
_PAIR = re.compile(
    rf"""(?ix)
    (?P<name> ["']? [\w.-]* (?:{_NAMES}) [\w-]* ["']? \s* [:=] \s*)
    (?P<value> "(?:[^"\\]|\\.)*"? | '(?:[^'\\]|\\.)*'? | (?:bearer|basic)\s+[^\s,;)}}\]]+ | [^\s,;)}}\]]+ )
    """
)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@]*@", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
MASK = "***"


def redact(text: str) -> str:
    """``text`` without the values of secret-looking names, without user and password in addresses, without bearer tokens."""
    text = _USERINFO.sub(rf"\g<scheme>{MASK}@", text)
    text = _PAIR.sub(rf"\g<name>{MASK}", text)
    return _BEARER.sub(rf"\1 {MASK}", text)
