"""COMMITs whose answer is lost: the look-up finds what happened, and nothing is done twice or left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from stack.endpoints import HOST
from stack.private import Servers
from tests.conftest import TEST_VAR
from tests.e2e import conftest
from tests.e2e.faults import Lab, stack_settings
from tests.e2e.faults_proxy import ANSWER, DEADLOCK, ITSELF, LATE, LOCK_WAIT, CommitProxy
from tests.e2e.harness import Stack

SETTINGS = stack_settings(TEST_VAR / "failpoints-commit")


@pytest.fixture(scope="module")
def proxy(servers: Servers) -> Iterator[CommitProxy]:
    """Between every program of the stack and MySQL."""
    with CommitProxy(HOST, servers.endpoints.mariadb_port) as made:
        yield made


@pytest.fixture(scope="module")
def behind_proxy(
    servers: Servers,
    schema: frozenset[str],
    proxy: CommitProxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A stack of its own whose DATABASE_URL leads through the proxy."""
    for other in conftest._running:
        # It would work on the same tables, without the proxy.
        other.end()
    endpoints = replace(servers.endpoints, mariadb_port=proxy.port)
    made = Stack(replace(servers, endpoints=endpoints), schema, tmp_path_factory.mktemp("stack-behind-proxy"))
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def lab(behind_proxy: Stack, proxy: CommitProxy, servers: Servers) -> Iterator[Lab]:
    """The stack, quiet and empty, nothing lost yet.  What looks at its database commits by itself and loses nothing."""
    proxy.lose(share=0, most=0, seed=0)
    behind_proxy.begin(SETTINGS)
    proxy.lost.clear()
    with Lab(behind_proxy, seed=7) as made:
        yield made


ANY = ""
CLAIM = "AND state = 'queued'"
RECORD = "jobs_done = jobs_done + 1"


@pytest.mark.parametrize(
    ("mode", "of", "share"),
    [
        (ANSWER, CLAIM, 1.0),
        (ANSWER, RECORD, 1.0),
        (LATE, CLAIM, 1.0),
        (LATE, RECORD, 1.0),
        (ITSELF, ANY, 0.25),
        (ANSWER, ANY, 0.25),
    ],
)
def test_an_import_survives_commits_that_are_lost(
    lab: Lab, proxy: CommitProxy, mode: str, of: str, share: float
) -> None:
    """COMMITs of claims, of records, or of anything lose their answer or themselves: every row once, no crash counted."""
    most = 4 if of == CLAIM else 10 if mode == LATE else 20
    proxy.lose(mode, share=share, most=most, seed=11, after=of)
    generated = lab.start_import(rows=6000, jobs=40)
    found = generated.wait_ended()
    assert proxy.lost[mode] >= 3, "it has to have happened"
    assert found.problems == []
    assert (found.crashes, found.lost_nodes, found.lost) == (0, 0, [])


@pytest.mark.parametrize("mode", [DEADLOCK, LOCK_WAIT])
def test_a_record_that_deadlocks_is_redone_whole(lab: Lab, proxy: CommitProxy, mode: str) -> None:
    """1213 and 1205 at the last statement of twenty records: each is done again from its first, and no attempt is used."""
    proxy.lose(mode, share=0.5, most=20, seed=3, after=RECORD)
    generated = lab.start_import(rows=6000, jobs=40)
    found = generated.wait_ended()
    assert proxy.lost[mode] == 20, "it has to have happened"
    assert found.problems == []
    assert lab.database.value("SELECT COUNT(*) FROM job_attempts WHERE outcome <> 'done'") == 0


def test_no_start_is_lost_or_doubled_with_its_commit(lab: Lab, proxy: CommitProxy) -> None:
    """Twenty starts of one key whose COMMITs are lost in every way: each is recorded once, one is admitted."""
    go = lab.directory("held")
    proxy.lose(ANSWER, ITSELF, LATE, share=0.3, most=40, seed=5)
    lab.producer.ask("holding", 20, directory=str(go), jobs=[1, 2])
    started = lab.producer.answer()
    assert [one.error for one in started if one.error] == []
    lab.wait_decided(20)
    assert sum(proxy.lost.values()) >= 10
    assert lab.statuses() == {"running": 1, "refused": 19}
    (go / "go").touch()
    lab.wait_no_active_run()
    assert lab.database.rows("SELECT job_no, COUNT(*) FROM effects GROUP BY job_no") == [(1, 1), (2, 1)]


def test_a_start_that_may_have_been_recorded_says_so(lab: Lab, proxy: CommitProxy) -> None:
    """MySQL is gone right after a start's COMMIT: the producer hears within 3 s that nobody knows; it was, and it runs once."""
    lab.producer.start("hostile", jobs=[{}])
    lab.wait_no_active_run()
    proxy.lose(ANSWER, share=1.0, most=1, seed=0, after="INSERT INTO runs", refuse_then=True)
    try:
        lab.producer.ask("hostile", 1, jobs=[{}])
        (started,) = lab.producer.answer()
    finally:
        proxy.refusing = False
    assert (started.error or "").startswith("StartUnknown: start_hostile: whether run")
    assert started.seconds < 3
    lab.wait_no_active_run()
    assert lab.statuses() == {"completed": 2}
    assert lab.database.value("SELECT COUNT(*) FROM effects") == 2
