"""``ops health``: does the whole thing work now?  Each check says what it found and what to do."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kombu.exceptions import OperationalError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from locks import LocksError, TokenLock
from locks.limit_list import list_limits
from ops.checks import Check, attempt, fail, ok, report, warn
from ops.judge_limits import judge_limits
from ops.output import Output, duration, moment
from ops.parsers import Commands
from ops.queues import ALIVE_S, Queue, all_queues
from ops.trouble import check_disk, told_by_tables
from runstate import nodes
from runstate.errors import RunstateError
from runstate.nodes import Node
from runstate.stale import stale_runs
from runstate.transaction import in_transaction
from tasks import clients
from tasks.publish import queue_length
from tasks.registry import kinds_by_queue
from tasks.settings import settings

START_WARN_S, START_FAIL_S = 10.0, 60.0
"""A start is admitted within seconds, however much work there is: nothing but an admission waits on its queue."""
IDLE_WARN_S = 60.0
"""Due work may wait long behind other work; that nothing of its queue moves for so long is another thing."""

_DATABASE = (RunstateError, SQLAlchemyError, OSError)
_WHERE = "see `make status` and `make logs`, or the server's own log"


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``health``."""
    parser = commands.add_parser("health", parents=[common], help="does it all work now? exit 1 if not")
    parser.add_argument("--strict", action="store_true", help="exit 1 for warnings, too")
    parser.set_defaults(run=health)


def health(options: argparse.Namespace, output: Output) -> int:
    """Print how it all is."""
    return report(all_checks(), output, strict=options.strict)


def all_checks() -> list[Check]:
    """Every check; what MySQL would have to tell is left out while it is away."""
    mysql = attempt("mysql", _mysql, f"nothing can start or be recorded until it is back; {_WHERE}", _DATABASE)
    # Before the others, which may take seconds to fail: heartbeats must not grow old while we wait.
    told = _told_by_mysql() if mysql.level == "ok" else []
    redis = attempt("redis", _redis, f"admission decides in MySQL alone meanwhile, slower; {_WHERE}", (LocksError,))
    return [
        mysql,
        redis,
        attempt(
            "broker", _broker, f"starts are accepted and wait until it is back; {_WHERE}", (OperationalError, OSError)
        ),
        check_disk(_existing(settings().var)),
        *([attempt("paused limits", _limits, _WHERE, (LocksError,))] if redis.level == "ok" else []),
        *told,
    ]


def _told_by_mysql() -> list[Check]:
    try:
        living = in_transaction(clients.engine(), nodes.all_nodes)
        queues = all_queues(ask_broker=False)
        stale = in_transaction(clients.engine(), _stale_runs)
        tables = in_transaction(clients.engine(), told_by_tables)
    except _DATABASE as error:
        return [fail("schema", str(getattr(error, "orig", error)), "run `python -m runstate.migrate`")]
    starts = next(queue for queue in queues if queue.name == settings().control_queue)
    return [
        judge_dispatchers(living),
        *(judge_workers(queue) for queue in queues),
        judge_starts(starts),
        *(judge_work(queue) for queue in queues if queue.due_age_s is not None),
        judge_stale(stale),
        *tables,
    ]


def _mysql() -> Check:
    began = time.monotonic()
    in_transaction(clients.engine(), lambda c: c.execute(text("SELECT 1")) and None)
    return ok("mysql", f"answers within {_ms(began)}")


def _redis() -> Check:
    # A lock of its own: that Redis answers a PING does not mean that it takes a write.
    lock = TokenLock(clients.redis(), ["health", clients.who()], 5, clients.who())
    began = time.monotonic()
    lock.acquire()
    lock.release()
    return ok("redis", f"locks and unlocks within {_ms(began)}")


def _broker() -> Check:
    began = time.monotonic()
    waiting = queue_length(settings().control_queue)
    return ok("broker", f"answers within {_ms(began)}, {waiting} messages on {settings().control_queue}")


def _limits() -> Check:
    return judge_limits(list_limits(clients.redis()))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: on a fresh host nothing has been written yet."""
    return folder if folder.exists() else _existing(folder.parent)


def _stale_runs(connection: Connection) -> list[str]:
    queues = [{kind.name: kind.stale_after_s for kind in members} for members in kinds_by_queue().values()]
    return [f"{run_id} since {moment(since)}" for run_id, since in stale_runs(connection, queues)]


def judge_dispatchers(living: list[Node]) -> Check:
    """Two or more should beat; one is enough, none is not."""
    ages = sorted(node.age_s for node in living if node.role == "dispatcher")
    beating = [age for age in ages if age <= ALIVE_S]
    if not beating:
        last = f"the last beat {duration(ages[0])} ago" if ages else "none has ever beaten"
        return fail(
            "dispatchers",
            f"none beats, {last}",
            "retries, lost messages and crashed jobs wait: start them with `make up`, or `python -m tasks.dispatcher`",
        )
    found = f"{len(beating)} beat, the latest {duration(beating[0])} ago"
    if len(beating) == 1:
        return warn("dispatchers", found, "one is enough to work, two survive the loss of one: HOLDFAST_DISPATCHERS=2")
    return ok("dispatchers", found)


def judge_workers(queue: Queue) -> Check:
    """A queue with work needs a worker; one without should have one, or work will wait."""
    name = f"workers on {queue.name}"
    if queue.workers:
        return ok(name, f"{len(queue.workers)}: {', '.join(queue.workers)}")
    advice = f"start one: `celery -A tasks worker -Q {queue.name}`; HOLDFAST_{queue.name.upper()}_PROCESSES may be 0"
    if queue.work:
        advice = (
            "start its pool: `make up`; meanwhile a living worker can take the queue: Flower's page of that worker, Queues, New "
            f"consumer, or `celery -A tasks control add_consumer {queue.name} -d WORKER`"
        )
        return fail(name, f"none, and {queue.work} starts or jobs wait for one", advice)
    return warn(name, "none, and nothing waits for one", advice)


def judge_starts(control: Queue) -> Check:
    """Starts are admitted at once."""
    if control.requested_age_s is None:
        return ok("starts", "none waits for admission")
    found = f"{control.requested} wait for admission, the oldest for {duration(control.requested_age_s)}"
    advice = f"look at the workers on {control.name}, the dispatchers and the broker, in this order"
    if control.requested_age_s > START_FAIL_S:
        return fail("starts", found, advice)
    if control.requested_age_s > START_WARN_S:
        return warn("starts", found, advice)
    return ok("starts", found)


def judge_work(queue: Queue) -> Check:
    """Due work waits for its turn, while something on its queue moves."""
    name = f"work on {queue.name}"
    found = (
        f"the oldest due job waits for {duration(queue.due_age_s)}, the queue moved {duration(queue.moved_age_s)} ago"
    )
    if (queue.moved_age_s or 0.0) <= IDLE_WARN_S:
        return ok(name, found)
    return warn(name, found, "its workers may be wedged: `celery -A tasks inspect active`, `make logs`")


def judge_stale(stale: list[str]) -> Check:
    """A stale run blocks its key until it moves or somebody decides."""
    if not stale:
        return ok("stale runs", "none")
    advice = "`python -m ops runs show RUN`; if nothing works on it, `python -m ops runs recover RUN`"
    return fail("stale runs", ", ".join(stale), advice)


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
