"""Messages that cannot be read or carried out: each is dropped, logged in a line that cannot hurt, and counted.

A message is a hint.  If it was one of ours, the dispatcher publishes its job again; if it was not, nothing is lost.
"""

from __future__ import annotations

import logging
import reprlib
from collections import Counter

logger = logging.getLogger(__name__)

EXCERPT_CHARS = 600

dropped: Counter[str] = Counter()
"""How many messages this process dropped, by reason."""


class _Repr(reprlib.Repr):
    def repr_bytes(self, value: bytes, _: int) -> str:
        # As for strings: cut first, repr() of 50 MB takes a while.
        return repr(value[: self.maxstring])


_repr = _Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 200
_repr.maxlevel = 4
_repr.maxdict = _repr.maxlist = _repr.maxtuple = 20


def drop(reason: str, message: object, error: BaseException | None = None) -> None:
    """Count and log a message that is being dropped; ``reason`` completes "dropped a message: …".

    ``message`` and ``error`` are shown as a capped excerpt in printable ASCII: whoever can write to the broker must not
    be able to fill the log, forge a line of it, or send escapes to the terminal of the operator who reads it.
    """
    dropped[reason] += 1
    why = f" ({type(error).__name__}: {excerpt(str(error))})" if error is not None else ""
    logger.error("dropped a message: %s%s: %s", reason, why, excerpt(message))


def excerpt(value: object) -> str:
    """``value`` in at most `EXCERPT_CHARS` printable ASCII characters."""
    shown = repr(value[:EXCERPT_CHARS]) if isinstance(value, (str, bytes)) else _repr.repr(value)
    shown = shown.encode("ascii", "backslashreplace").decode("ascii")
    return shown if len(shown) <= EXCERPT_CHARS else shown[: EXCERPT_CHARS - 3] + "..."
