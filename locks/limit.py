"""A limit: so many permits in any window of a period."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import BadLimit

_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_TEXT = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*([a-z]+?)s?\s*\Z")
_MAX_PERMITS = 1_000_000
_MAX_PERIOD_S = 31 * 86400


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``permits`` in any ``period_s`` seconds, however the window is laid.

    Raises `BadLimit` for what is no limit; ``permits`` is also how many moments Redis keeps, about 10 bytes each.
    """

    permits: int
    period_s: int

    def __post_init__(self) -> None:
        if not 1 <= self.permits <= _MAX_PERMITS:
            raise BadLimit(f"a limit of {self.permits} permits: give 1 to {_MAX_PERMITS:,}")
        if not 1 <= self.period_s <= _MAX_PERIOD_S:
            raise BadLimit(f"a limit over {self.period_s} s: give 1 second to 31 days")

    @classmethod
    def parse(cls, text: str) -> Limit:
        """The limit that ``text`` says: ``14/s``, ``50/min``, ``100/10s``, ``3000/h``, ``50000/day``.

        Raises `BadLimit` for anything else.
        """
        found = _TEXT.match(text) if isinstance(text, str) else None
        if found is None or (found[3] not in _SECONDS and found[3] + "s" not in _SECONDS):
            raise BadLimit(
                f"{text!r} is no limit: say how many in which time, as `14/s`, `50/min`, `100/10s`, `3000/h`, `50000/day` "
                "(less than one a second: `1/2s`)"
            )
        unit = found[3] if found[3] in _SECONDS else found[3] + "s"
        return cls(int(found[1]), int(found[2] or 1) * _SECONDS[unit])

    @property
    def period_us(self) -> int:
        """The period in microseconds."""
        return self.period_s * 1_000_000

    def __str__(self) -> str:
        for unit, seconds in (("day", 86400), ("h", 3600), ("min", 60), ("s", 1)):
            times, rest = divmod(self.period_s, seconds)
            if rest == 0:
                return f"{self.permits}/{times if times > 1 else ''}{unit}"
        raise AssertionError("every period is a number of seconds")
