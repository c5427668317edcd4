"""What operators see of the rate limits."""

from __future__ import annotations

import re
from dataclasses import dataclass

import redis

from .client import TryingTo
from .errors import LimiterUnavailable
from .limit import Limit
from .limit_answers import Pause
from .limit_keys import STATE_PREFIX, keys_of
from .limit_scripts import SHOWN_FOR_US
from .limit_steering import SHOW


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit of a key: how many went or are reserved within its last period, how many are left, when it was asked last."""

    limit: Limit
    used: int
    left: int
    asked_s_ago: float


@dataclass(frozen=True, slots=True)
class LimitedKey:
    """One key.  ``rate`` is the share of its full rate that it has now, ``reserved`` how many slots are still ahead."""

    key: str
    limits: tuple[LimitUse, ...]
    pause: Pause | None
    rate: float
    reserved: int


def list_limits(client: redis.Redis, prefix: str = "") -> list[LimitedKey]:
    """Every key (that begins with ``prefix``) that was used within its longest period, or is paused, or slowed down, by name.

    Reads with SCAN, so Redis goes on serving.  Raises `LimiterUnavailable`.
    """
    with TryingTo("list limits", LimiterUnavailable):
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", STATE_PREFIX + prefix) + "*"
        names = sorted(str(state).removeprefix(STATE_PREFIX) for state in set(client.scan_iter(pattern, 1000)))
        return [_read(name, SHOW(client, keys_of(name))) for name in names]


def limited_key(client: redis.Redis, key: str) -> LimitedKey:
    """The key called ``key``, used or not.  Raises `LimiterUnavailable`."""
    with TryingTo(f"look at {key}", LimiterUnavailable):
        return _read(key, SHOW(client, keys_of(key)))


def _read(key: str, answer: list[str]) -> LimitedKey:
    pause_s, reason = int(answer[1]) / 1e6, answer[2]
    uses = []
    for said, asked_us, used in zip(answer[5::3], answer[6::3], answer[7::3], strict=True):
        permits, period_us = map(int, said.split(":"))
        limit = Limit(permits, period_us // 1_000_000)
        # One that nobody has asked for lately was another configuration's.
        if int(asked_us) <= max(period_us, SHOWN_FOR_US):
            uses.append(LimitUse(limit, int(used), max(0, permits - int(used)), int(asked_us) / 1e6))
    uses.sort(key=lambda use: use.limit.period_s)
    pause = Pause(pause_s, reason) if pause_s > 0 else None
    return LimitedKey(key, tuple(uses), pause, float(answer[3]), int(answer[4]))
