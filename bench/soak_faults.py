"""The faults of `bench.soak`: each strikes a run that is under way, and says how often and since when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import redis

from tests.e2e.faults import Lab, thaw
from tests.e2e.faults_import import GeneratedImport
from tests.e2e.faults_kinds import LEASE_S as QUICK_LEASE_S
from tests.e2e.faults_proxy import ANSWER, ITSELF, LATE
from tests.e2e.harness import wait_until

HOLD_S = 2.0
POINTS = ("perform.after", "record.before_commit")


@dataclass(frozen=True, slots=True)
class Struck:
    """``after``: what is still to be done once the run has ended."""

    times: int
    back_at: datetime
    after: Callable[[], None] | None = None


Strike = Callable[[Lab, GeneratedImport], Struck]


@dataclass(frozen=True, slots=True)
class Fault:
    """``measured``: it has one moment from which the pick-up counts."""

    name: str
    strike: Strike
    kind: str = "import"
    lease_s: int = 15
    measured: bool = True


def _once(fault: Callable[[Lab], datetime], *, jobs: int = 2) -> Strike:
    """Somewhere in the first half of the run, while both children hold a job, before its record or in it."""

    def strike(lab: Lab, generated: GeneratedImport) -> Struck:
        generated.wait_done(lab.rng.randrange(25))
        lab.hold_workers(lab.rng.choice(POINTS), HOLD_S, jobs)
        return Struck(1, fault(lab))

    return strike


def _dispatchers_and_children(lab: Lab) -> datetime:
    lab.kill_children()
    return lab.kill_dispatchers()


def _freeze(point: str) -> Strike:
    def strike(lab: Lab, generated: GeneratedImport) -> Struck:
        generated.wait_done(lab.rng.randrange(25))
        lab.failpoints.load(point, "stop")
        (child,) = lab.failpoints.wait_fired(point)
        frozen = lab.freeze_worker_of(child)

        def wake() -> None:
            thaw([*frozen, child])
            late = "not recorded: job .* its claim was lost|stopped without a record"
            wait_until(lambda: lab.log_lines(late), 60, "the late worker")

        return Struck(1, lab.database.now(), wake)

    return strike


def _copies(lab: Lab, _generated: GeneratedImport) -> Struck:
    """Every waiting message three times, and once more when the run is over."""
    broker = redis.Redis.from_url(lab.stack.servers.broker_url)
    # Jobs longer than a message's time slice, so that the window is full of messages.
    lab.failpoints.load("perform.after", "delay 1.2", 12)
    lab.failpoints.wait_fired("perform.after", 4)
    messages = broker.lrange("imports", 0, -1)
    broker.lpush("imports", *messages, *messages)

    def again() -> None:
        broker.lpush("imports", *messages)
        wait_until(lambda: broker.llen("imports") == 0, 60, "the old messages to be taken")

    return Struck(len(messages) * 3, lab.database.now(), again)


def _deaths(lab: Lab, generated: GeneratedImport) -> Struck:
    """A child, or a dispatcher, dies at each step of the way of a job."""
    steps = (
        "claim.before_commit",
        "claim.after_commit",
        "perform.after",
        "record.before_commit",
        "record.after_commit",
    )
    for step in steps:
        generated.wait_done(generated.jobs_done() + 1 + lab.rng.randrange(3))
        lab.failpoints.load(step, "kill")
        lab.failpoints.wait_fired(step)
    lab.failpoints.load("reap.before_commit", "kill")
    lab.failpoints.wait_fired("reap.before_commit", timeout_s=60)
    return Struck(len(steps) + 1, lab.database.now())


def again_and_again(kills: int) -> Fault:
    """Kills without a pause: children, workers, pools, dispatchers, Redis, everything.

    A job may have to be done again more often than a healthy one would: the kind has the short lease, and its own limit.
    """

    def strike(lab: Lab, generated: GeneratedImport) -> Struck:
        lab.failpoints.load("perform.after", "delay 1.5", 1000)
        ways = [lab.kill_child] * 6 + [lab.kill_worker] * 4 + [lab.kill_dispatchers, lab.flush_redis, lab.restart_redis]
        ways += [lab.restart_mysql, lab.kill_everything]
        done = 0
        while done < kills and generated.status() != "completed":
            lab.rng.choice(ways)()
            done += 1
            time.sleep(lab.rng.uniform(0.2, 1.5))
        lab.failpoints.unload("perform.after")
        return Struck(done, lab.database.now())

    return Fault("again_and_again", strike, kind="stubborn_import", lease_s=QUICK_LEASE_S, measured=False)


def _commits(*modes: str) -> Strike:
    def strike(lab: Lab, generated: GeneratedImport) -> Struck:
        assert lab.proxy is not None
        lab.proxy.lose(*modes, share=0.5, most=200, seed=lab.seed)
        wait_until(lambda: generated.jobs_done() >= 50, 300, "most of the run")
        lab.proxy.lose(share=0, most=0, seed=0)
        return Struck(lab.proxy.lost.total(), lab.database.now())

    return strike


FAULTS = (
    Fault("kill_child", _once(Lab.kill_child)),
    Fault("kill_children", _once(Lab.kill_children)),
    Fault("kill_pool", _once(Lab.kill_pool)),
    Fault("kill_dispatchers_and_children", _once(_dispatchers_and_children)),
    Fault("kill_everything", _once(Lab.kill_everything)),
    Fault("death_at_each_step", _deaths, measured=False),
    Fault("stop_before_record", _freeze("perform.after")),
    Fault("stop_in_record", _freeze("record.before_commit")),
    Fault("flushall", _once(Lab.flush_redis)),
    Fault("redis_restart", _once(Lab.restart_redis)),
    Fault("redis_down_40_s", _once(lambda lab: lab.restart_redis(40))),
    Fault("mysql_restart", _once(Lab.restart_mysql)),
    Fault("mysql_down_40_s", _once(lambda lab: lab.restart_mysql(40))),
    Fault("messages_three_times", _copies, measured=False),
)
COMMITS = (
    Fault("commit_answers_lost", _commits(ANSWER), measured=False),
    Fault("commits_lost", _commits(ITSELF), measured=False),
    Fault("commits_late", _commits(LATE), measured=False),
    Fault("commits_in_every_way", _commits(ANSWER, ITSELF, LATE), measured=False),
)
