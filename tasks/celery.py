"""The Celery app: ``celery -A tasks worker -Q imports``, ``celery -A tasks flower``, ``celery -A tasks inspect …``."""

from __future__ import annotations

from celery import Celery

from tasks import transport
from tasks.heartbeat import NodeHeartbeat

# Before the app: kombu looks its transports up by name when it first connects.
transport.install()

app = Celery("holdfast")
app.config_from_object("celeryconfig")
# A worker learns its tasks here; a producer when it imports a start.
app.conf.imports = ("tasks.starts",)
app.steps["worker"].add(NodeHeartbeat)
