"""What a lock's value and its errors say."""

from __future__ import annotations

import json

import pytest
import redis

from locks import LockHeld, LockLost, LocksError, LockUnavailable, TokenLock, connect
from locks.holder import holder_value, read_holder


def test_a_value_reads_back_as_its_holder() -> None:
    """Owner, token, time and name survive the way through Redis."""
    holder = read_holder(holder_value('["imports","flüge"]', "control0@web1:4711", "abc"), 1500)
    assert holder is not None and holder.acquired_at is not None
    assert (holder.name, holder.owner, holder.token) == ('["imports","flüge"]', "control0@web1:4711", "abc")
    assert holder.ttl_s == 1.5


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        "null",
        "[]",
        "{}",
        "x" * 9999,
        '{"owner": 1}',
        json.dumps({"acquired_at": 1e99, "owner": "", "token": ""}),
    ],
)
def test_a_value_that_is_not_ours_is_shown_and_breaks_nothing(value: str) -> None:
    """Somebody else's value under a lock's key is shown as it stands, capped."""
    holder = read_holder(value, -1)
    assert holder is not None
    assert holder.owner.startswith("not written by Holdfast") and len(holder.owner) < 300
    assert holder.ttl_s is None


@pytest.mark.parametrize("value", [None, "gone between the two reads"])
def test_a_free_lock_has_no_holder(value: str | None) -> None:
    """A key that is not there, or went between the reads, means free."""
    assert read_holder(value, -2) is None


def test_errors_carry_what_a_caller_decides_on() -> None:
    """Each error has its data as attributes and says what to do."""
    held = LockHeld('["x"]', owner="me", ttl_s=2.0)
    lost = LockLost('["x"]', "its key was deleted")
    away = LockUnavailable("acquire lock x", "ConnectionError: refused")
    assert all(isinstance(error, LocksError) for error in (held, lost, away))
    assert (held.owner, held.ttl_s, lost.reason, away.cause) == (
        "me",
        2.0,
        "its key was deleted",
        "ConnectionError: refused",
    )
    assert "wait longer" in str(held) and "stop the work" in str(lost) and "decide without the lock" in str(away)


@pytest.mark.parametrize("ttl_s", [0, -1, 0.0001])
def test_a_lock_without_expiry_cannot_be_made(ttl_s: float) -> None:
    """A lock that would outlive a crash is refused when it is declared."""
    with pytest.raises(ValueError, match="give seconds above zero"):
        TokenLock(redis.Redis(), "x", ttl_s, "me")


def test_a_client_name_with_spaces_is_made_fit_for_redis() -> None:
    """Whatever the owner is called, Redis accepts the name."""
    client = connect("redis://127.0.0.1:1/0", owner="worker 1\nof 2")
    assert client.get_connection_kwargs()["client_name"] == "worker_1_of_2"


def test_the_clients_time_outs_cannot_be_stretched_or_repeated() -> None:
    """No retry, and no server that announces maintenance, adds to the time that a caller waits."""
    client = connect("redis://127.0.0.1:1/0")
    retry = client.get_retry()
    assert retry is not None and retry.get_retries() == 0
    assert not client.connection_pool.maint_notifications_enabled()  # type: ignore[no-untyped-call]
