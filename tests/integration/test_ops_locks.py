"""``ops locks``: who holds what, and taking a lock from its holder: only the very holding that was looked at."""

from __future__ import annotations

import pytest

from locks import TokenLock
from ops import exits
from stack.private import Servers
from tasks import clients
from tests.integration.machinery import query
from tests.integration.ops_command import Ops

pytestmark = pytest.mark.usefixtures("machinery")
WHY = ("--reason", "its host burnt down", "--actor", "anna")
NAME = '["admission","import","products"]'


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    """The command line."""
    return Ops(capsys)


def held() -> TokenLock:
    """Somebody's lock."""
    lock = TokenLock(clients.redis(), ["admission", "import", "products"], 60, "bob@host1")
    assert lock.acquire()
    return lock


def token(ops: Ops) -> str:
    """As the list shows it."""
    return ops("locks").out.splitlines()[1].split()[-1]


def test_a_lock_is_released_by_force_and_written_down(ops: Ops) -> None:
    """By the name and the token that the list shows; who and why stand in the audit log."""
    lock = held()
    seen = token(ops)
    assert len(seen) == 8
    done = ops("locks", "release", NAME, "--token", seen, "--force", *WHY, "--json")
    assert (done.code, done.document["released"], done.document["owner"]) == (exits.OK, True, "bob@host1")
    assert lock.holder() is None
    assert query("SELECT actor, action, subject, reason FROM audit_log") == [
        ("anna", "release_lock", f"lock:{NAME}", "its host burnt down")
    ]
    assert ops("locks", "release", NAME, "--token", seen, "--force", *WHY).code == exits.NOT_FOUND


def test_a_lock_that_is_held_anew_is_left_alone(ops: Ops) -> None:
    """The token is compared, as `recover` compares the heartbeat; the answer says who holds it now."""
    old = held()
    seen = token(ops)
    old.release()
    new = held()
    refused = ops("locks", "release", NAME, "--token", seen, "--force", *WHY)
    assert (refused.code, "is not the holding that you saw: bob@host1" in refused.err) == (exits.TROUBLE, True)
    assert new.holder() is not None
    assert query("SELECT COUNT(*) FROM audit_log") == [(0,)]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--dry-run",), exits.OK, "would release"),
        (WHY, exits.USAGE, "--force"),
        (("--force",), exits.USAGE, "--reason"),
        (("--force", "--token", "a", *WHY), exits.USAGE, "at least the 8 characters"),
    ],
)
def test_nothing_is_released_without_all_that_it_takes(
    ops: Ops, options: tuple[str, ...], code: int, said: str
) -> None:
    """A dry run, a missing force, a missing reason, a token that could be anybody's: the lock stays."""
    lock = held()
    ran = ops("locks", "release", NAME, "--token", token(ops), *options)
    assert (ran.code, said in ran.out + ran.err) == (code, True)
    assert lock.holder() is not None
    assert query("SELECT COUNT(*) FROM audit_log") == [(0,)]


def test_redis_away_is_said(ops: Ops, servers: Servers) -> None:
    """Trouble, not a stack of Python."""
    servers.valkey.kill()
    try:
        ran = ops("locks", "release", NAME, "--token", "12345678", "--force", *WHY)
    finally:
        servers.valkey.start()
    assert (ran.code, "Traceback" in ran.err) == (exits.TROUBLE, False)
