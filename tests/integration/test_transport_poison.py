"""Messages that nobody can read or carry out, given to a real worker: each is dropped, and the next one runs."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from stack.private import Servers
from stack.server_process import ServerProcess
from tests.transport_app import app
from tests.waiting import wait_until

QUEUE = "poisoned"
CHILDREN = 2


def envelope(body: Any = None, headers: Any = None, properties: Any = None, **more: Any) -> dict[str, Any]:
    """A message to the task ``note`` as kombu puts it into Redis, with some parts replaced; ``...`` leaves a part out."""
    whole = {
        "body": base64.b64encode(json.dumps([["poison"], {}, None]).encode()).decode() if body is None else body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "note", "id": str(uuid.uuid4()), "argsrepr": "", "kwargsrepr": ""},
        "properties": {
            "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_mode": 2,
            "delivery_tag": str(uuid.uuid4()),
            "priority": 0,
        },
        **more,
    }
    for part, changes in (("headers", headers), ("properties", properties)):
        if isinstance(changes, dict):
            whole[part] = {key: value for key, value in (whole[part] | changes).items() if value is not ...}
        elif changes is not None:
            whole[part] = changes
    return {key: value for key, value in whole.items() if value is not ...}


def of(value: Any) -> str:
    """``value`` as a message's body."""
    return base64.b64encode(json.dumps(value).encode()).decode()


NOT_AN_ENVELOPE: dict[str, Any] = {
    "text": b"not json",
    "empty": b"",
    "not utf-8": b'{"\xff": 1}',
    "forged log lines": b'{"\r\n[2026-01-01 00:00:00] all is well \x1b[2J',
    "bottomless": b"[" * 100_000,
    "a number too long": b"1" * 5000,
    "a type nobody knows": {"__type__": "spam", "__value__": 1},
    "a type with a wrong value": {"__type__": "bytes", "__value__": 5},
    "a type that is a list": {"__type__": [], "__value__": 5},
    "null": None,
    "a list": [],
    "a string": "x",
    "no properties": envelope(properties=...),
    "properties are a list": envelope(properties=[]),
    "no delivery tag": envelope(properties={"delivery_tag": ...}),
    "delivery tag null": envelope(properties={"delivery_tag": None}),
    "delivery tag an object": envelope(properties={"delivery_tag": {}}),
    "no delivery info": envelope(properties={"delivery_info": ...}),
    "delivery info a list": envelope(properties={"delivery_info": []}),
    "delivery info without exchange": envelope(properties={"delivery_info": {}}),
    "bad base64": envelope(body="%%%"),
    "body encoding unknown": envelope(properties={"body_encoding": "rot13"}),
    "body a number": envelope(body=7),
}
NOT_A_TASK: dict[str, Any] = {
    "no headers": envelope(headers=...),
    "headers a list": envelope(headers=[1]),
    "headers a string": envelope(headers="x"),
    "no id": envelope(headers={"id": ...}),
    "id null": envelope(headers={"id": None}),
    "id an object": envelope(headers={"id": {}}),
    "no task": envelope(headers={"task": ...}),
    "task a list": envelope(headers={"task": []}),
    "task unknown": envelope(headers={"task": "of.another.release"}),
    "task unknown, huge": envelope(headers={"task": "x" * 5_000_000}),
    "time limit a word": envelope(headers={"timelimit": "abc"}),
    "one time limit": envelope(headers={"timelimit": [1]}),
    "time limits words": envelope(headers={"timelimit": ["a", "b"]}),
    "eta a word": envelope(headers={"eta": "soon"}),
    "eta a number": envelope(headers={"eta": 5}),
    "expires a word": envelope(headers={"expires": "soon"}),
    "expires a list": envelope(headers={"expires": [5]}),
    "content type unknown": envelope(**{"content-type": "application/x-spam"}),
    "content type pickle": envelope(**{"content-type": "application/x-python-serialize"}),
    "content type a list": envelope(**{"content-type": []}),
    "compression unknown": envelope(headers={"compression": "spam"}),
    "compressed badly": envelope(headers={"compression": "application/x-gzip"}),
    "body no JSON": envelope(body=base64.b64encode(b"{").decode()),
    "body a JSON number": envelope(body=of(5)),
    "body bottomless": envelope(body=base64.b64encode(b"[" * 100_000).decode()),
    "no body": envelope(body=...),
    "body empty": envelope(body=""),
    "protocol 1, no id": envelope(headers={"task": ...}, body=of({"task": "note"})),
    "protocol 1, no task": envelope(headers={"task": ...}, body=of({"spam": 1})),
}
FAILS_IN_ITS_CHILD: dict[str, Any] = {
    "content encoding unknown": envelope(**{"content-encoding": "spam"}),
    "protocol 1, arguments a number": envelope(
        headers={}, body=of({"task": "note", "id": "1", "args": 5, "kwargs": {}})
    ),
    "two parts": envelope(body=of([[], {}])),
    "no parts": envelope(body=of([])),
    "a string": envelope(body=of("abcd")),
    "arguments a number": envelope(body=of([5, {}, None])),
    "keywords a list": envelope(body=of([[], [1], None])),
    "embedded a number": envelope(body=of([["x"], {}, 5])),
    "too many arguments": envelope(body=of([["x", "y", "z"], {}, None])),
    "retries a word": envelope(headers={"retries": "x"}),
    "long ago": envelope(headers={"eta": "0001-01-01T00:00:00+14:00"}),
    "expired long ago": envelope(headers={"expires": "0001-01-01T00:00:00+14:00"}),
}
BROADCASTS: dict[str, bytes] = {
    "text": b"not json",
    "bottomless": b"[" * 100_000,
    "a list": b"[1]",
    "an empty object": b"{}",
    "bad base64": json.dumps(envelope(body="%%%")).encode(),
    "no command": json.dumps(envelope(body=of({}))).encode(),
    "a command that is a list": json.dumps(envelope(body=of({"method": [], "arguments": []}))).encode(),
    "headers a list": json.dumps(envelope(headers=[1])).encode(),
}


class Worker(ServerProcess):
    """A worker with the project's settings, and its log."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "celery", "-A", "tests.transport_app", "worker", "-Q", QUEUE]
        command += ["-c", str(CHILDREN), "-l", "INFO", "-n", "poisoned@test"]
        log = directory / f"worker-{uuid.uuid4().hex[:6]}.log"
        super().__init__("worker", command, dict(os.environ), log, lambda: "ready." in self.said())

    def said(self, since: int = 0) -> str:
        """What it logged after its first ``since`` bytes."""
        return self.log.read_bytes()[since:].decode(errors="replace")


@pytest.fixture(scope="module")
def workers(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Worker]]:
    """The worker of this module; a test that kills it costs the next one a start, not its result."""
    running: list[Worker] = []
    yield running
    for worker in running:
        worker.stop()


@pytest.fixture
def worker(workers: list[Worker], broker_url: str, tmp_path: Path) -> Worker:
    """A worker that lives."""
    if not workers or not workers[-1].running:
        workers.append(Worker(tmp_path))
        workers[-1].start()
    return workers[-1]


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    """The broker's database."""
    client = redis.Redis.from_url(broker_url)
    yield client
    client.close()


def push(broker: redis.Redis, *messages: Any) -> None:
    """Put messages into the queue as they stand."""
    broker.lpush(QUEUE, *(message if isinstance(message, bytes) else json.dumps(message) for message in messages))


def assert_the_next_message_runs(broker: redis.Redis, worker: Worker, since: int) -> str:
    """The worker lives, did not reconnect, owes nothing, and runs what comes next; returns what it said meanwhile."""
    marks = [uuid.uuid4().hex for _ in range(CHILDREN + 1)]
    for mark in marks:
        app.send_task("note", (mark,), queue=QUEUE)
    wait_until(lambda: set(marks) <= noted(broker) or not worker.running, timeout_s=20)
    said = worker.said(since)
    assert worker.running, said[-3000:]
    assert "onnection to broker lost" not in said
    wait_until(lambda: broker.hlen("unacked") == 0 and broker.zcard("unacked_index") == 0)
    assert broker.llen(QUEUE) == 0
    return said


def noted(broker: redis.Redis) -> set[str]:
    return {str(mark, "utf-8") for mark in broker.lrange("noted", 0, -1) if isinstance(mark, bytes)}


@pytest.mark.parametrize("name", NOT_AN_ENVELOPE | NOT_A_TASK)
def test_a_message_that_is_none_is_dropped_and_the_next_one_runs(
    broker: redis.Redis, worker: Worker, name: str
) -> None:
    """Whatever is in the queue: one line in the log, nothing left behind, and the worker goes on."""
    since = worker.log.stat().st_size
    push(broker, (NOT_AN_ENVELOPE | NOT_A_TASK)[name])
    said = assert_the_next_message_runs(broker, worker, since)
    (line,) = re.findall(r".*dropped a message.*", said)
    assert len(line) < 1600
    assert line.isascii() and line.isprintable()
    assert "poison" not in noted(broker)


@pytest.mark.parametrize("name", FAILS_IN_ITS_CHILD)
def test_a_task_with_impossible_parts_fails_alone(broker: redis.Redis, worker: Worker, name: str) -> None:
    """What only shows when the task is to run is that task's failure, and not the worker's."""
    since = worker.log.stat().st_size
    push(broker, FAILS_IN_ITS_CHILD[name])
    assert_the_next_message_runs(broker, worker, since)


@pytest.mark.parametrize("channel", ["celery.pidbox", "celeryev/worker.heartbeat"])
@pytest.mark.parametrize("name", BROADCASTS)
def test_a_broadcast_that_is_none_does_no_harm(broker: redis.Redis, worker: Worker, name: str, channel: str) -> None:
    """Garbage on the channels of commands and events stops no worker."""
    since = worker.log.stat().st_size
    assert broker.publish(f"/1.{channel}", BROADCASTS[name]) == 1
    assert_the_next_message_runs(broker, worker, since)


def test_bad_messages_take_no_childs_slot_for_good(broker: redis.Redis, worker: Worker) -> None:
    """More bad messages than there are children, between good ones: all good ones run."""
    since = worker.log.stat().st_size
    bad = [NOT_A_TASK[name] for name in ("time limit a word", "one time limit", "time limits words", "id an object")]
    push(broker, *bad * CHILDREN)
    assert_the_next_message_runs(broker, worker, since)
    assert app.control.inspect(["poisoned@test"], timeout=5).reserved() == {"poisoned@test": []}


def test_a_worker_tells_how_many_messages_it_dropped(broker: redis.Redis, worker: Worker) -> None:
    """``celery inspect dropped_messages`` counts them by reason."""

    def count() -> int:
        replies = app.control.broadcast("dropped_messages", reply=True, timeout=5, limit=1)
        return sum(replies[0]["poisoned@test"].values())

    before = count()
    since = worker.log.stat().st_size
    push(broker, b"not json", envelope(headers={"id": ...}))
    assert_the_next_message_runs(broker, worker, since)
    assert count() == before + 2
