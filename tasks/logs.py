"""What every log line carries: the run and the job that it is about; and, where asked for, each line as one JSON object.

``HOLDFAST_LOG_FORMAT=json`` for machines; the default is Celery's text, for people.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"

_bound: ContextVar[dict[str, Any] | None] = ContextVar("holdfast_log_fields", default=None)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line that is logged inside, by whomever, carries these fields."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``at``, ``level``, ``logger``, ``message``, ``host``, ``pid``, what is bound, and an error's text."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "host": socket.gethostname(),
            "pid": record.process,
            **(_bound.get() or {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def wants_json() -> bool:
    """Whether this process logs for machines."""
    return os.environ.get("HOLDFAST_LOG_FORMAT", "text").lower() == "json"


def use_format(logger: logging.Logger) -> None:
    """Have the handlers of ``logger`` write JSON, if that is wanted."""
    if wants_json():
        for handler in logger.handlers:
            handler.setFormatter(JsonFormatter())


def set_up(level: int = logging.INFO) -> None:
    """The logs of a process that is none of Celery's."""
    logging.basicConfig(level=level, format=TEXT, stream=sys.stderr)
    use_format(logging.getLogger())
