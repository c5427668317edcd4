"""When a message may go: one question to the limiter for the provider and for the recipient's domain at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from locks.errors import LocksError
from locks.limits import Limit, NotBefore, RateLimiter, Slot
from tasks import metrics
from tasks.email.errors import EmailError

__all__ = ["NotNow", "Slot", "Throttle", "domain_key", "provider_key"]

SHORT_S = 2.0
"""A slot that is this near is waited for; for a longer wait the job goes back, and its worker does something else."""
SLICE_S = 0.2
"""How often a wait should ask whether it must stop."""
REDIS_AWAY_S = 2.0

Pause = Callable[[float], object]
"""Sleep for at most so many seconds; may come back early, or raise."""


class NotNow(EmailError):
    """Nothing may be sent for ``wait_s`` seconds; with a ``group``, nothing to the domains of that key alone."""

    def __init__(self, message: str, *, wait_s: float, group: str | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        self.group = group


class Throttle:
    """The limits of one campaign, and how to wait for them."""

    def __init__(
        self,
        limiter: RateLimiter,
        provider: str,
        rates: Sequence[str],
        domain_rates: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """``rates``: e.g. ``("14/s", "50000/day")``; ``domain_rates``: domains, joined by commas, → rates that they share;
        ``*``: every other domain for itself.
        """
        self._limiter = limiter
        self._key = provider_key(provider)
        self._provider = provider
        self._limits = [Limit.parse(rate) for rate in rates]
        self._groups: dict[str, tuple[str, list[Limit]]] = {}
        self._others: list[Limit] = []
        for group, group_rates in (domain_rates or {}).items():
            limits = [Limit.parse(rate) for rate in group_rates]
            if group == "*":
                self._others = limits
                continue
            for domain in group.split(","):
                self._groups[domain] = (domain_key(provider, group), limits)

    @property
    def unlimited(self) -> bool:
        """Whether nothing but a pause can be in the way."""
        return not (self._limits or self._groups or self._others)

    def reserve(self, domain: str) -> Slot:
        """The next slot of a message to ``domain``; raises `NotNow` if none is near, and when Redis is away."""
        with _redis_away():
            return self._near(self._limiter.reserve(self._keys(domain), at_most_wait_s=SHORT_S))

    def approach(self, slot: Slot, lead_s: float, pause: Pause) -> None:
        """Return ``lead_s`` before the slot: time for what must be done before the message may go."""
        while (left_s := slot.go_at - lead_s - time.monotonic()) > 0:
            pause(left_s)

    def arrive(self, slot: Slot, pause: Pause) -> bool:
        """Return when the slot is there; False if it is lost: too late, or the provider was paused meanwhile."""
        with _redis_away():
            return self._limiter.wait(slot, sleep=pause)

    def wait(self, domain: str, pause: Pause) -> None:
        """Return when a message to ``domain`` may go; raises `NotNow` as `reserve` does."""
        with _redis_away():
            self._near(self._limiter.take(self._keys(domain), at_most_wait_s=SHORT_S, sleep=pause))

    def pause(self, for_s: float, reason: str) -> None:
        """Nobody sends through the provider for so long."""
        try:
            self._limiter.pause(self._key, for_s, reason)
        except LocksError as error:
            raise NotNow(f"the limiter does not answer: {error}", wait_s=max(for_s, REDIS_AWAY_S)) from error

    def slow_down(self) -> None:
        """Halve the provider's rate; it recovers by itself."""
        try:
            self._limiter.slow_down(self._key)
        except LocksError:
            # The next message asks Redis again, and stops if it is still away.
            return

    def group(self, domain: str) -> str | None:
        """The key of the limit that the domain shares, if it has one beside the provider's."""
        return next((key for key in self._keys(domain) if key != self._key), None)

    def _near(self, answer: Slot | NotBefore) -> Slot:
        # By the provider alone: of domains there may be very many.
        metrics.count_limited(self._key, answer.go_in_s if isinstance(answer, Slot) else None)
        if isinstance(answer, NotBefore):
            group = answer.key if answer.key != self._key else None
            raise NotNow(f"limited by {answer.limited_by}", wait_s=answer.wait_s, group=group)
        return answer

    def _keys(self, domain: str) -> dict[str, Sequence[Limit]]:
        keys: dict[str, Sequence[Limit]] = {self._key: self._limits}
        if domain in self._groups:
            key, limits = self._groups[domain]
            keys[key] = limits
        elif self._others:
            keys[domain_key(self._provider, domain)] = self._others
        return keys


@contextmanager
def _redis_away() -> Iterator[None]:
    try:
        yield
    except LocksError as error:
        raise NotNow(f"the limiter does not answer: {error}", wait_s=REDIS_AWAY_S) from error


def provider_key(provider: str) -> str:
    """The limiter's key of a provider: all campaigns share it."""
    return f"email:provider:{provider}"


def domain_key(provider: str, domains: str) -> str:
    """The limiter's key of a group of domains at a provider."""
    return f"email:domain:{provider}:{domains}"
