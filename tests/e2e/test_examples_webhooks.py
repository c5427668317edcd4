"""The example of a fifth kind of job, on real workers."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, create_engine, text

from examples.webhooks import outbox
from stack.layout import PROJECT
from tests.e2e.harness import Stack, wait_until
from tests.http_endpoint import endpoint

START = """
import sys
from tasks import start_webhooks
print(start_webhooks.delay("e1", sys.argv[1]).run_id)
"""


@contextmanager
def worker(stack: Stack, queue: str) -> Iterator[None]:
    """One worker more, beside the pools, as a site would start it for a queue of its own."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tasks",
            "worker",
            "-Q",
            queue,
            "-n",
            f"{queue}0@%h",
            "--concurrency",
            "2",
        ],
        cwd=PROJECT,
        env=stack.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def status_of(engine: Engine, run_id: str) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT status FROM runs WHERE run_id = :run_id"), {"run_id": run_id}))


@pytest.mark.stack(HOLDFAST_KINDS="examples.webhooks.kind:DELIVER_WEBHOOKS")
def test_webhooks_go_from_delay_to_the_receiver(stack: Stack) -> None:
    """A kind that a site registers by one variable is admitted, planned and done by real workers, each delivery once."""
    engine = create_engine(stack.servers.database_url)
    events = [str(uuid.uuid4()) for _ in range(20)]
    with engine.begin() as connection:
        connection.execute(text(outbox.CREATE_TABLE))
        for event_id in events:
            outbox.add(connection, event_id=event_id, endpoint_id="e1", body="{}")
    with endpoint() as server, worker(stack, "webhooks"):
        run_id = stack.run("-c", START, server.url).stdout.strip()
        wait_until(lambda: status_of(engine, run_id) == "completed", 60, "the run to complete")
    assert sorted(request.headers["Idempotency-Key"] for request in server.received) == sorted(events)
    engine.dispose()
