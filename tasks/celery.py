"""The Celery app: ``celery -A tasks worker -Q imports``, ``celery -A tasks flower``, ``celery -A tasks inspect …``."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery
from celery.signals import after_setup_logger, after_setup_task_logger, worker_process_init

from tasks import transport
from tasks.heartbeat import NodeHeartbeat
from tasks.logs import use_format
from tasks.memory import limit_memory
from tasks.settings import settings

# Before the app: kombu looks its transports up by name when it first connects.
transport.install()

app = Celery("holdfast")
app.config_from_object("celeryconfig")
# A worker learns its tasks here; a producer when it imports a start.
app.conf.imports = ("tasks.starts",)
app.steps["worker"].add(NodeHeartbeat)


@after_setup_logger.connect  # type: ignore[untyped-decorator]
@after_setup_task_logger.connect  # type: ignore[untyped-decorator]
def _format_logs(logger: logging.Logger, **_: Any) -> None:
    use_format(logger)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _limit_child(**_: Any) -> None:
    # In the child alone, and nothing slow: a child that takes its time here is killed and replaced, for ever.
    limit_memory(settings().job_memory_mb)
