"""Is a Redis server set up so that locks and messages are safe in it?  Pure: facts in, verdicts out."""

from __future__ import annotations

from locks import ServerFacts
from ops.checks import Check, judge
from ops.judge_database import SKEW_WARN_S

LEAST = (6, 2)


def judge_redis(name: str, facts: ServerFacts, *, now_s: float) -> list[Check]:
    """The verdicts on one server; ``name`` says what it is for, ``now_s`` is this host's clock when it was asked."""
    skew_s = facts.now_s - now_s
    return [
        judge(
            f"{name}: version",
            ".".join(str(number) for number in facts.version),
            good=facts.version >= LEAST,
            advice="Redis 6.2 at least, or any Valkey",
        ),
        judge(
            f"{name}: role",
            "cluster" if facts.cluster else facts.role,
            good=facts.role == "master" and not facts.cluster,
            advice="one primary: a replica takes no locks, and neither Celery nor our scripts work across a cluster's slots",
        ),
        _eviction(name, facts),
        judge(
            f"{name}: clock",
            f"{skew_s:+.1f} s from this host's",
            good=abs(skew_s) <= SKEW_WARN_S,
            advice="run chrony or another NTP client on both; locks themselves do not depend on it",
            level="warn",
        ),
    ]


def _eviction(name: str, facts: ServerFacts) -> Check:
    if facts.eviction is None:
        found, good = "not told", False
    else:
        limit = f"{facts.max_memory_bytes // 2**20} MiB" if facts.max_memory_bytes else "no limit"
        found, good = f"{facts.eviction}, {limit}", facts.eviction == "noeviction"
    return judge(
        f"{name}: eviction",
        found,
        good=good,
        advice="set maxmemory-policy to noeviction: any other silently drops locks and messages when memory is short",
        # Without a limit nothing is dropped yet.
        level="fail" if facts.eviction is not None and facts.max_memory_bytes else "warn",
    )
