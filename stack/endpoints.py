"""The addresses and passwords of a pair of private servers."""

from __future__ import annotations

import random
import secrets
import socket
from dataclasses import dataclass

DATABASE = "holdfast"
HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)
"""Below Linux's ephemeral range (32768 up), so that no outgoing connection takes the port while its server is down."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where two private servers listen, and the passwords they ask for."""

    valkey_port: int
    valkey_password: str
    mariadb_port: int
    mariadb_password: str
    mariadb_root_password: str

    @classmethod
    def generate(cls) -> Endpoints:
        """Free loopback ports and fresh passwords (URL-safe, so that they need no quoting anywhere)."""
        valkey_port = free_port()
        return cls(
            valkey_port=valkey_port,
            valkey_password=secrets.token_urlsafe(24),
            mariadb_port=free_port(taken={valkey_port}),
            mariadb_password=secrets.token_urlsafe(24),
            mariadb_root_password=secrets.token_urlsafe(24),
        )

    @property
    def database_url(self) -> str:
        """The application's database, as the application's user."""
        return (
            f"mysql+pymysql://{DATABASE}:{self.mariadb_password}@{HOST}:{self.mariadb_port}/{DATABASE}?charset=utf8mb4"
        )

    @property
    def admin_url(self) -> str:
        """The same database as ``root``: for tests and for diagnosis, never for the application."""
        return (
            f"mysql+pymysql://root:{self.mariadb_root_password}@{HOST}:{self.mariadb_port}/{DATABASE}?charset=utf8mb4"
        )

    @property
    def redis_url(self) -> str:
        """Locks, limits and the epoch key: database 0."""
        return f"redis://:{self.valkey_password}@{HOST}:{self.valkey_port}/0"

    @property
    def broker_url(self) -> str:
        """Celery's messages: database 1."""
        return f"redis://:{self.valkey_password}@{HOST}:{self.valkey_port}/1"

    def environment(self) -> dict[str, str]:
        """The environment variables that point the application at these servers."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "CELERY_BROKER_URL": self.broker_url}


def free_port(*, taken: set[int] | None = None) -> int:
    """A loopback TCP port that nothing listens on; raises `OSError` if a hundred tries find none."""
    for _ in range(100):
        port = random.SystemRandom().choice(_PORTS)
        if port not in (taken or set()) and port_is_free(port):
            return port
    raise OSError(f"no free TCP port found between {_PORTS.start} and {_PORTS.stop} on {HOST}")


def port_is_free(port: int) -> bool:
    """True if a server could listen on ``port`` of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
