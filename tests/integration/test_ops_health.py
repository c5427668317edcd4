"""``ops health``, ``queues`` and ``locks``: what works, what does not, and what to do about it."""

from __future__ import annotations

import time

import pytest

from locks import TokenLock
from runstate import nodes
from runstate.transaction import in_transaction
from stack.private import Servers
from tasks import clients
from tasks.registry import kinds_by_queue
from tests.integration.machinery import admitted, execute, planned, request
from tests.integration.ops_command import Ops, Ran
from tests.kinds import FREE, KEYED

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


def beat(name: str, role: str, *queues: str) -> None:
    """A node that lives."""
    identity = {"name": name, "boot": "b", "role": role, "queues": queues, "host": "web1", "pid": 1}
    in_transaction(clients.engine(), lambda c: nodes.beat(c, **identity))  # type: ignore[arg-type]


def queues() -> list[str]:
    """Every queue that should have a worker."""
    return sorted({"control", *kinds_by_queue()})


def all_beat() -> None:
    """Two dispatchers and a worker on every queue."""
    beat("dispatcher-1", "dispatcher")
    beat("dispatcher-2", "dispatcher")
    beat("all@web1", "worker", *queues())


def levels(ran: Ran) -> dict[str, str]:
    """The checks that are not ok."""
    return {check["name"]: check["level"] for check in ran.document["checks"] if check["level"] != "ok"}


def test_a_healthy_house_is_exit_code_0(ops: Ops) -> None:
    """Servers answer, two dispatchers beat, every queue has a worker: nothing to say."""
    all_beat()
    healthy = ops("health", "--json", "--strict")
    assert levels(healthy) == {}
    assert (healthy.code, healthy.document["level"]) == (0, "ok")
    assert "ok    mysql: answers within" in ops("health").out


def test_no_dispatcher_and_no_worker_are_told(ops: Ops) -> None:
    """Without a dispatcher it fails; a queue without workers warns, and fails once something waits there."""
    alone = ops("health", "--json")
    assert levels(alone) == {"dispatchers": "fail", **{f"workers on {queue}": "warn" for queue in queues()}}
    assert alone.code == 1
    beat("dispatcher-1", "dispatcher")
    planned(KEYED, n=3)
    request(FREE)
    waiting = levels(ops("health", "--json"))
    assert waiting == {
        "dispatchers": "warn",
        **{f"workers on {queue}": "warn" for queue in queues()},
        "workers on control": "fail",
        "workers on imports": "fail",
    }


def test_nodes_that_stopped_beating_do_not_count(ops: Ops) -> None:
    """A heartbeat from before the outage is no life."""
    all_beat()
    execute("UPDATE nodes SET heartbeat_at = NOW(6) - INTERVAL 90 SECOND")
    found = ops("health", "--json")
    assert levels(found)["dispatchers"] == "fail"
    (dispatchers,) = [check for check in found.document["checks"] if check["name"] == "dispatchers"]
    assert "1 min 30 s ago" in dispatchers["found"]
    assert "python -m tasks.dispatcher" in dispatchers["advice"]


@pytest.mark.parametrize(("age_s", "level"), [(5, None), (20, "warn"), (90, "fail")])
def test_starts_that_nobody_admits_are_told(ops: Ops, age_s: int, level: str | None) -> None:
    """An admission takes milliseconds: one that waits for long is a fault."""
    all_beat()
    run_id = request(KEYED)
    execute(f"UPDATE runs SET requested_at = NOW(6) - INTERVAL {age_s} SECOND WHERE run_id = :r", r=run_id)
    assert levels(ops("health", "--json")) == ({"starts": level} if level else {})


def test_a_start_for_later_is_not_late(ops: Ops) -> None:
    """not_before in the future is no backlog."""
    all_beat()
    run_id = request(KEYED)
    execute(
        "UPDATE runs SET requested_at = NOW(6) - INTERVAL 1 DAY, not_before = NOW(6) + INTERVAL 1 DAY"
        " WHERE run_id = :r",
        r=run_id,
    )
    found = ops("health", "--json")
    assert levels(found) == {}
    assert {check["name"]: check["found"] for check in found.document["checks"]}["starts"] == "none waits for admission"


def test_work_that_waits_behind_other_work_is_no_trouble_unless_nothing_moves(ops: Ops) -> None:
    """Jobs that have been due for ten minutes are fine while their queue moves, and warn when it does not."""
    all_beat()
    run_id = planned(KEYED, n=9)
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 10 MINUTE WHERE run_id = :r AND state <> 'done'", r=run_id)
    assert levels(ops("health", "--json")) == {}
    execute("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 2 MINUTE WHERE run_id = :r", r=run_id)
    assert levels(ops("health", "--json")) == {"work on imports": "warn"}


def test_a_stale_run_is_named(ops: Ops) -> None:
    """A run that stands still for longer than its kind allows fails, and the advice says how to recover it."""
    all_beat()
    run_id = planned(KEYED, n=9)
    execute("UPDATE jobs SET due_at = NOW(6) - INTERVAL 10 MINUTE WHERE run_id = :r AND state <> 'done'", r=run_id)
    execute("UPDATE runs SET heartbeat_at = NOW(6) - INTERVAL 1 HOUR WHERE run_id = :r", r=run_id)
    found = ops("health", "--json")
    assert levels(found)["stale runs"] == "fail"
    (stale,) = [check for check in found.document["checks"] if check["name"] == "stale runs"]
    assert run_id in stale["found"] and "runs recover" in stale["advice"]
    assert ops("runs", "show", run_id, "--json").document["stale_since"] is not None
    # Another run of its queue moves: this one waits for its turn.
    planned(KEYED, n=1, key="another")
    assert "stale runs" not in levels(ops("health", "--json"))


@pytest.mark.parametrize("how", ["dead", "hung"])
def test_a_redis_that_is_away_is_told_quickly(ops: Ops, servers: Servers, how: str) -> None:
    """Locks and broker fail, MySQL's checks are still there; within seconds."""
    all_beat()
    servers.valkey.kill() if how == "dead" else servers.valkey.freeze()
    try:
        began = time.monotonic()
        found = ops("health", "--json")
        took_s = time.monotonic() - began
    finally:
        if how == "hung":
            servers.valkey.thaw()
    assert found.code == 1
    assert levels(found) == {"redis": "fail", "broker": "fail"}
    assert took_s < 10


def test_a_mysql_that_is_away_is_told(ops: Ops, servers: Servers) -> None:
    """MySQL fails, Redis is still judged, and what only MySQL could tell is left out."""
    servers.mariadb.kill()
    try:
        found = ops("health", "--json")
    finally:
        servers.mariadb.start()
    assert found.code == 1
    assert levels(found) == {"mysql": "fail"}
    assert [check["name"] for check in found.document["checks"]] == [
        "mysql",
        "redis",
        "broker",
        "disk",
        "paused limits",
    ]


def test_queues_tell_what_waits_and_who_works(ops: Ops) -> None:
    """Messages, starts, jobs by where they stand, and workers, queue by queue."""
    beat("imports0@web1", "worker", "imports")
    planned(KEYED, n=6)
    request(FREE)
    admitted(FREE, n=1)
    found = {queue["name"]: queue for queue in ops("queues", "--json").document}
    assert found["imports"]["workers"] == ["imports0@web1"]
    # KEYED's window is four: four are out, two wait in MySQL.
    assert (found["imports"]["queued"], found["imports"]["due"], found["imports"]["messages"]) == (4, 2, 5)
    assert found["control"]["requested"] == 1
    assert (found["email"]["queued"], found["email"]["workers"]) == (1, [])
    text = ops("queues")
    assert text.code == 0
    assert text.out.splitlines()[0].startswith("QUEUE")


def test_without_the_broker_queues_still_tell_what_mysql_knows(ops: Ops, servers: Servers) -> None:
    """The number of messages is unknown, which is trouble; everything else is there."""
    planned(KEYED, n=6)
    servers.valkey.kill()
    found = ops("queues", "--json")
    assert found.code == 1
    imports = {queue["name"]: queue for queue in found.document}["imports"]
    assert imports["messages"] is None and imports["queued"] == 4


def test_locks_are_listed_with_their_holders(ops: Ops) -> None:
    """Who holds which lock, since when, for how long."""
    TokenLock(clients.redis(), ["admission", "import", "flights"], 60, "web1:4711").acquire()
    (lock,) = ops("locks", "--json").document
    assert (lock["holder"]["name"], lock["holder"]["owner"]) == ('["admission","import","flights"]', "web1:4711")
    assert lock["holder"]["acquired_at"].endswith("Z") and lock["age_s"] < 10
    assert "web1:4711" in ops("locks").out


def test_locks_without_redis_are_trouble(ops: Ops, servers: Servers) -> None:
    """Exit code 1 and a sentence."""
    servers.valkey.kill()
    failed = ops("locks", "--json")
    assert failed.code == 1
    assert failed.document["error"]["class"] == "LockUnavailable"
