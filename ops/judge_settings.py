"""Do our own settings fit together?  Pure: settings in, verdicts out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from locks.client import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S
from ops.checks import Check, judge
from runstate.nodes import HEARTBEAT_S
from tasks.kinds import JobKind
from tasks.transport import Transport

CONSUMER = "tasks.consumer:Consumer"
LONGEST_LOCK_TTL_S = 60.0


def judge_lock_ttl(ttl_s: float) -> Check:
    """Longer than Redis may take to answer, short enough that a crash does not hold up admissions."""
    least_s = CONNECT_TIMEOUT_S + ANSWER_TIMEOUT_S
    return judge(
        "lock ttl",
        f"{ttl_s:g} s; Redis may take {least_s:g} s to answer",
        good=least_s < ttl_s <= LONGEST_LOCK_TTL_S,
        advice=f"set HOLDFAST_LOCK_TTL_S between {least_s:g} and {LONGEST_LOCK_TTL_S:g}: shorter expires while Redis is "
        "slow, longer makes starts wait after a crash",
        level="warn",
    )


def judge_kinds(kinds: Iterable[JobKind], stop_wait_s: float) -> list[Check]:
    """A job must be able to end before Supervisor loses patience, and a lease must outlast a missed heartbeat."""
    kinds = list(kinds)
    cut_off = sorted(kind.name for kind in kinds if kind.timeout_s > stop_wait_s)
    short = sorted(kind.name for kind in kinds if kind.lease_s < 3 * HEARTBEAT_S)
    return [
        judge(
            "job time-outs",
            f"above {stop_wait_s:g} s: {', '.join(cut_off)}" if cut_off else f"all within {stop_wait_s:g} s",
            good=not cut_off,
            advice="raise HOLDFAST_STOP_WAIT_S above the kind's timeout_s: a deploy would kill such a job at work",
            level="warn",
        ),
        judge(
            "leases",
            f"too short: {', '.join(short)}" if short else f"at least three heartbeats of {HEARTBEAT_S:g} s",
            good=not short,
            advice="raise the kind's lease_s: a crash could not be told from a lost node",
        ),
    ]


def judge_celery(conf: Mapping[str, Any], transport: object) -> list[Check]:
    """What Holdfast stands on, should somebody have changed celeryconfig.py."""
    options = conf["broker_transport_options"] or {}
    return [
        judge(
            "celery: acknowledgement",
            "late" if conf["task_acks_late"] else "early",
            good=not conf["task_acks_late"],
            advice="task_acks_late=False: late ones run twice at once after the visibility time-out",
        ),
        judge(
            "celery: time-outs",
            f"socket_timeout={options.get('socket_timeout')}, socket_connect_timeout={options.get('socket_connect_timeout')}",
            good=bool(options.get("socket_timeout") and options.get("socket_connect_timeout")),
            advice="set both in broker_transport_options: without them a hung broker blocks `.delay()` for ever",
        ),
        judge(
            "celery: accepted content",
            ", ".join(conf["accept_content"]),
            good=list(conf["accept_content"]) == ["json"],
            advice='accept_content = ["json"]: unpickling runs what a stranger sends',
        ),
        judge(
            "celery: bad messages",
            f"consumer {conf['worker_consumer']}",
            good=conf["worker_consumer"] == CONSUMER and _guarded(transport),
            advice=f'worker_consumer = "{CONSUMER}" and tasks.transport.install(): else one bad message ends a worker',
        ),
        judge(
            "celery: pool",
            str(conf["worker_pool"]),
            good=conf["worker_pool"] == "prefork",
            advice='worker_pool = "prefork": threads ignore time limits, and lose their slot for good on SystemExit',
        ),
    ]


def _guarded(transport: object) -> bool:
    # Other brokers have transports of their own, which were not found wanting.
    return getattr(transport, "driver_type", "") != "redis" or transport is Transport
