"""A Celery app with the project's settings and one task, for the workers that the transport's tests start."""

from __future__ import annotations

import os

import redis
from celery import Celery

from tasks.transport import install

install()
app = Celery("transport-test")
app.config_from_object("celeryconfig")
app.conf.worker_consumer = "tasks.consumer:Consumer"
app.conf.imports = ()
app.conf.task_routes = {}


@app.task(name="note")  # type: ignore[untyped-decorator]
def note(text: str) -> None:
    """Leave ``text`` where the test finds it."""
    redis.Redis.from_url(os.environ["CELERY_BROKER_URL"]).rpush("noted", text)
