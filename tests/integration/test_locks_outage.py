"""How long anything takes, and what it says, while Redis is down, hung or just back."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from locks import LockUnavailable, TokenLock, connect, list_locks, read_epoch, set_epoch_if_absent
from stack.private import Servers

BUDGET_S = 2.0
NAME = "x"

OPERATIONS: dict[str, Callable[[redis.Redis, TokenLock], object]] = {
    "acquire": lambda client, lock: TokenLock(client, NAME, 5, "me").acquire(wait_s=60),
    "extend": lambda client, lock: lock.extend(),
    "release": lambda client, lock: lock.release(),
    "holder": lambda client, lock: lock.holder(),
    "list": lambda client, lock: list_locks(client),
    "epoch": lambda client, lock: read_epoch(client),
    "set epoch": lambda client, lock: set_epoch_if_absent(client),
}


@contextmanager
def within_budget() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < BUDGET_S


@pytest.fixture
def used(redis_url: str) -> Iterator[tuple[redis.Redis, TokenLock]]:
    """A client with an open connection, and a lock that it holds."""
    client = connect(redis_url)
    lock = TokenLock(client, NAME, 60, "me")
    assert lock.acquire()
    yield client, lock
    client.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_dead_redis_is_reported_within_the_budget(
    servers: Servers, used: tuple[redis.Redis, TokenLock], operation: str
) -> None:
    """Connection refused: LockUnavailable, at once."""
    servers.valkey.kill()
    with within_budget(), pytest.raises(LockUnavailable, match="Redis is away"):
        OPERATIONS[operation](*used)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_hung_redis_is_reported_within_the_budget(
    servers: Servers, used: tuple[redis.Redis, TokenLock], redis_url: str, operation: str, fresh: bool
) -> None:
    """A server that accepts and never answers, with a connection open before or not: LockUnavailable within 2 s."""
    client, lock = used
    if fresh:
        client.connection_pool.disconnect()
    servers.valkey.freeze()
    try:
        with within_budget(), pytest.raises(LockUnavailable, match="Timeout"):
            OPERATIONS[operation](client, lock)
    finally:
        servers.valkey.thaw()


def test_a_host_that_swallows_packets_is_reported_within_the_budget() -> None:
    """A connection that is never answered is given up: the backlog of this listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with within_budget(), pytest.raises(LockUnavailable, match="Timeout connecting"):
            TokenLock(connect(f"redis://127.0.0.1:{port}/0"), NAME, 5, "me").acquire()
        for filler in fillers:
            filler.close()


def test_a_wrong_password_is_reported_as_what_it_is(servers: Servers, redis_url: str) -> None:
    """Redis refuses us: LockUnavailable with the server's words."""
    port = servers.endpoints.valkey_port
    with pytest.raises(LockUnavailable, match=r"WRONGPASS|invalid username-password"):
        TokenLock(connect(f"redis://:wrong@127.0.0.1:{port}/0"), NAME, 5, "me").acquire()


def test_a_full_redis_is_reported(used: tuple[redis.Redis, TokenLock]) -> None:
    """Redis out of memory refuses the lock: LockUnavailable, and the lock that is held can still be released."""
    client, lock = used
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(LockUnavailable, match="OutOfMemory"):
            TokenLock(client, "y", 5, "me").acquire()
        assert lock.release()
    finally:
        client.config_set("maxmemory", "512mb")


def test_after_a_restart_the_first_command_works(servers: Servers, used: tuple[redis.Redis, TokenLock]) -> None:
    """The pool notices connections that the restart closed, without a retry that could run a command twice."""
    client, _ = used
    servers.valkey.restart()
    assert TokenLock(client, NAME, 5, "me").acquire()


def test_a_client_survives_a_fork(used: tuple[redis.Redis, TokenLock]) -> None:
    """Parent and child do not read each other's answers."""
    client, _ = used
    child = os.fork()
    if child == 0:
        taken = [TokenLock(client, ["child", n], 5, "child").acquire() for n in range(50)]
        os._exit(0 if all(taken) else 1)
    assert all(TokenLock(client, ["parent", n], 5, "parent").acquire() for n in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
