"""The clients of this process: built once, after the fork, and handed on."""

from __future__ import annotations

import os
import secrets
import socket
import threading

from redis import Redis
from sqlalchemy import Engine

from locks import connect
from runstate.engine import make_engine
from tasks.settings import settings

_guard = threading.Lock()
_owner_pid = 0
_engine: Engine | None = None
_start_engine: Engine | None = None
_redis: Redis | None = None

BOOT = secrets.token_hex(4)
"""This node's incarnation: made in the worker's main process, so its children share it and a restart changes it."""


def engine() -> Engine:
    """This process' engine."""
    global _engine
    with _guard:
        _after_fork()
        if _engine is None:
            _engine = make_engine(settings().database_url)
        return _engine


def start_engine() -> Engine:
    """The engine that starts are written with: it gives up within about 2.5 s, for a producer may be a web request."""
    global _start_engine
    with _guard:
        _after_fork()
        if _start_engine is None:
            _start_engine = make_engine(settings().database_url, connect_timeout_s=1.0, answer_timeout_s=1.25)
        return _start_engine


def redis() -> Redis:
    """This process' Redis client, for locks and limits (the broker has its own)."""
    global _redis
    with _guard:
        _after_fork()
        if _redis is None:
            _redis = connect(settings().redis_url)
        return _redis


def _after_fork() -> None:
    global _engine, _start_engine, _redis, _owner_pid
    if _owner_pid == os.getpid():
        return
    for inherited in (_engine, _start_engine):
        if inherited is not None:
            # The parent's sockets stay the parent's: forget them, do not close them.
            inherited.dispose(close=False)
    _engine, _start_engine, _redis, _owner_pid = None, None, None, os.getpid()


def reset() -> None:
    """Forget settings and clients (tests change the environment)."""
    global _engine, _start_engine, _redis
    with _guard:
        for used in (_engine, _start_engine):
            if used is not None and _owner_pid == os.getpid():
                used.dispose()
        _engine, _start_engine, _redis = None, None, None
    settings.cache_clear()


def who() -> str:
    """This process, as locks and requests name it: ``host:pid``."""
    return f"{socket.gethostname()}:{os.getpid()}"
