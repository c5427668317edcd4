"""The connections under a session: they go only where the guard allows, know whether a request was sent, and can be cut.

What requests and urllib3 report does not say reliably whether any byte of a request left; the connection itself knows.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

from tasks.sync.addresses import AddressGuard
from tasks.sync.deadline import Deadline

POOL_SIZE = 4
"""Connections that a process keeps open to one API."""


class Call:
    """One request under way in this thread.

    ``sent``: a first byte of it may have left; ``fresh``: its connection was made for it, not kept from an earlier one.
    """

    def __init__(self, guard: AddressGuard, deadline: Deadline) -> None:
        self.guard = guard
        self.deadline = deadline
        self.sent = False
        self.fresh = False


_under_way = threading.local()


def set_call(call: Call | None) -> None:
    """The request that this thread makes now."""
    _under_way.call = call


def _call() -> Call:
    call: Call = _under_way.call
    return call


class _Watched:
    """What both kinds of connection do in addition.  Comes before urllib3's class in the order of bases."""

    _wire: socket.socket | None = None

    def _new_conn(self: Any) -> socket.socket:
        try:
            addresses = _call().guard.addresses(self._dns_host, self.port)
        except OSError as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        failure: OSError | None = None
        for family, address in addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
                continue
            # TLS takes the socket away from us; a second descriptor of the same connection still cuts it.
            self._wire = sock.dup()
            _call().fresh = True
            _call().deadline.watch(self._wire)
            return sock
        raise NewConnectionError(self, f"Failed to establish a new connection: {failure}") from failure

    def send(self: Any, data: Any) -> None:
        call = _call()
        if self.sock is None:
            self.connect()
        call.deadline.watch(self._wire)
        call.sent = True
        super().send(data)  # type: ignore[misc]

    def close(self: Any) -> None:
        super().close()  # type: ignore[misc]
        wire, self._wire = self._wire, None
        if wire is None:
            return
        call = getattr(_under_way, "call", None)
        if call is None:
            wire.close()
        else:
            # An answer that ends with its connection is closed here before it is read: it must still be possible to cut it.
            call.deadline.close_at_end(wire)


class _Http(_Watched, HTTPConnection):
    pass


class _Https(_Watched, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class GuardedAdapter(HTTPAdapter):
    """requests' adapter with such connections; it never repeats anything of its own accord."""

    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=POOL_SIZE, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
