"""What the limiter answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .limit import Limit


@dataclass(frozen=True, slots=True)
class Slot:
    """Permission to go in ``go_in_s`` seconds, counted from when it was received; it is taken whether used or not.

    ``late_s``   how late one may still go: later, it could meet the next ones at the server
    ``permits``  how many it is for
    ``go_at``    the same moment by `time.monotonic` of this process
    ``taken``    for each key, when it is on the key's own clock (microseconds, as text)
    """

    go_in_s: float
    late_s: float
    permits: int = 1
    go_at: float = 0.0
    taken: dict[str, str] = field(default_factory=dict)

    @property
    def on_time(self) -> bool:
        """Whether it may be used now."""
        return 0 <= time.monotonic() - self.go_at <= self.late_s


@dataclass(frozen=True, slots=True)
class NotBefore:
    """No slot within the time that the caller would wait; nothing was reserved.  Come back in ``wait_s``.

    ``key``    which key is in the way
    ``limit``  which of its limits; None where it is paused, or was lost and is being put together again
    ``why``    in words: ``14/s``, ``paused: 454 throttled``, …
    """

    wait_s: float
    key: str
    limit: Limit | None
    why: str

    @property
    def limited_by(self) -> str:
        """Key and reason, for operators and for the job's explanation."""
        return f"{self.key} ({self.why})"


@dataclass(frozen=True, slots=True)
class Pause:
    """A key is paused for ``for_s`` seconds more, because of ``reason``."""

    for_s: float
    reason: str
