"""The Celery app: ``celery -A tasks worker -Q imports``, ``celery -A tasks flower``, ``celery -A tasks inspect …``."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from tasks import transport
from tasks.heartbeat import NodeHeartbeat
from tasks.memory import limit_memory
from tasks.settings import settings

# Before the app: kombu looks its transports up by name when it first connects.
transport.install()

app = Celery("holdfast")
app.config_from_object("celeryconfig")
# A worker learns its tasks here; a producer when it imports a start.
app.conf.imports = ("tasks.starts",)
app.steps["worker"].add(NodeHeartbeat)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _limit_child(**_: Any) -> None:
    # In the child alone, and nothing slow: a child that takes its time here is killed and replaced, for ever.
    limit_memory(settings().job_memory_mb)
