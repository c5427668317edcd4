"""Messages that come twice, late or long after: a message is a hint, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.conftest import TEST_VAR
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.harness import Stack, wait_until

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))

QUEUE = "imports"


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty."""
    with Lab(stack) as made:
        yield made


@pytest.fixture
def broker(stack: Stack) -> Iterator[redis.Redis]:
    """The broker, to copy messages in."""
    client = redis.Redis.from_url(stack.servers.broker_url)
    yield client
    client.close()


def test_messages_delivered_three_times_and_an_hour_late_do_nothing(lab: Lab, broker: redis.Redis) -> None:
    """Each message of a run comes three times while it runs, and once more when it is long done and another run is active."""
    first = lab.start_import(rows=10_000, jobs=30, shots=("perform.after", "delay 0.2", 100))
    wait_until(lambda: broker.llen(QUEUE) >= 20, 30, "a full queue")
    messages = broker.lrange(QUEUE, 0, -1)
    broker.lpush(QUEUE, *messages, *messages)
    lab.failpoints.wait_fired("perform.after", 6)
    lab.failpoints.unload("perform.after")
    found = first.wait_ended()
    assert found.problems == []
    assert (found.crashes, found.claims) == (0, found.jobs + 2), "planning, every chunk and finish were claimed once"
    wait_until(lambda: broker.llen(QUEUE) == 0, 30, "the copies to be taken")

    second = lab.start_import(rows=10_000, jobs=30)
    broker.rpush(QUEUE, *messages)
    assert second.wait_ended().problems == []
    wait_until(lambda: broker.llen(QUEUE) == 0, 30, "the old messages to be taken")
    assert first.found() == found
