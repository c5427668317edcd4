"""Starts while a server is away: the broker's absence delays the run, the database's is said at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import TEST_VAR
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.harness import Stack

pytestmark = pytest.mark.stack(**stack_settings(TEST_VAR / "failpoints"))

BOUND_S = 3.0
"""What a producer may have to wait when something is down."""


@pytest.fixture
def lab(stack: Stack) -> Iterator[Lab]:
    """The stack, quiet and empty, with a producer that has made a start before, so that its connections are old."""
    with Lab(stack) as made:
        made.producer.start("hostile", jobs=[{}])
        made.wait_no_active_run()
        made.database.rows("DELETE FROM effects")
        yield made


@pytest.mark.parametrize("outage", ["killed", "hung"])
def test_a_start_without_a_broker_returns_soon_and_runs_later(lab: Lab, outage: str) -> None:
    """Redis is killed or hangs: .delay() returns within three seconds, and the run happens when Redis is back."""
    valkey = lab.stack.servers.valkey
    valkey.kill() if outage == "killed" else valkey.freeze()
    try:
        lab.producer.ask("hostile", 3, jobs=[{}, {}])
        started = lab.producer.answer()
    finally:
        valkey.start() if outage == "killed" else valkey.thaw()
    assert [one.error for one in started] == [None] * 3
    assert max(one.seconds for one in started) < BOUND_S
    lab.wait_no_active_run()
    assert lab.statuses() == {"completed": 4}
    assert lab.database.value("SELECT COUNT(*) FROM effects") == 6


@pytest.mark.parametrize("outage", ["killed", "hung"])
def test_a_start_without_a_database_is_refused_soon(lab: Lab, outage: str) -> None:
    """MariaDB is killed or hangs: a clear error within three seconds, nothing recorded, nothing run later."""
    mariadb = lab.stack.servers.mariadb
    mariadb.kill() if outage == "killed" else mariadb.freeze()
    try:
        lab.producer.ask("hostile", 2, jobs=[{}])
        started = lab.producer.answer()
    finally:
        mariadb.start() if outage == "killed" else mariadb.thaw()
    assert max(one.seconds for one in started) < BOUND_S
    for one in started:
        assert (one.error or "").startswith("DatabaseDown: start_hostile was not accepted: MySQL does not answer")
    lab.producer.start("hostile", jobs=[{}])
    lab.wait_no_active_run()
    assert lab.statuses() == {"completed": 2}
    assert lab.database.value("SELECT COUNT(*) FROM effects") == 1
