"""How many phases share a COMMIT: as many as are sent within a few hundredths of a second."""

from __future__ import annotations

FLIGHT_S = 0.03
"""A crash strikes so short a time seldom; and whoever pauses or unsubscribes waits no longer than this."""


class Flight:
    """One worker's measure of its own speed, waiting for slots included: at 14/s every phase has a COMMIT of its own."""

    def __init__(self, most: int, *, size: int = 1) -> None:
        """``most``: a crash may leave so many in doubt; ``size``: what was measured before."""
        self._most = most
        self.size = min(size, most)

    def took(self, seconds: float, messages: int) -> None:
        """A flight of ``messages`` took so long, its COMMITs left out."""
        fitting = FLIGHT_S * messages / max(seconds, 1e-6)
        # Twice as many at most: one quick answer says little.
        self.size = max(1, min(self._most, int(fitting), self.size * 2))
