"""Several Flowers, many browsers: what one has read the others show."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from locks import TokenLock
from ops.pages import reading
from ops.pages.commons import Commons
from ops.pages.shared import REST_TIMES
from stack.private import Servers
from tasks import clients
from tests.integration.flower_pages import Site, flower_site
from tests.integration.machinery import planned, query, work_off
from tests.kinds import KEYED
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture
def flowers(machinery: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, Site]]:
    """Two Flowers on one Redis and one database, each with a loop and answers of its own."""
    # As new processes have it: Redis was not away yet.
    monkeypatch.setattr(reading, "_COMMONS", Commons(clients.redis, rest_times=REST_TIMES))
    with flower_site() as one, flower_site() as other:
        yield one, other


def trouble() -> tuple[str, int]:
    """A run with a dead letter, something in the audit log, a lock that is held."""
    run_id = planned(KEYED, jobs=[{"fails": 1, "error": "permanent", "message": "broken"}, {}])
    work_off(KEYED, run_id)
    assert TokenLock(clients.redis(), ["mine"], 30, "me").acquire()
    return run_id, query("SELECT MAX(id) FROM dead_letters")[0][0]


def test_what_one_flower_has_read_the_others_show(flowers: tuple[Site, Site], caplog: pytest.LogCaptureFixture) -> None:
    """Every page that is shared: read once, shown by both, the same but for what tells the time and the form's token."""
    one, other = flowers
    run_id, _ = trouble()
    paths = [
        *(
            "",
            "runs",
            "runs?status=active&text=key",
            "dead-letters",
            "dead-letters?status=all",
            "locks",
            "audit",
            "metrics",
        ),
        f"runs/{run_id}",
    ]
    ada, eva = one.browser("ada"), other.browser("ada")
    with caplog.at_level(logging.WARNING, "holdfast.pages"):
        for path in paths:
            live = f"{path}{'&' if '?' in path else '?'}live=1" if path not in ("audit", "metrics") else path
            assert ada.get(f"/holdfast/{live}").status_code == 200, path
            before = other.shared.reads
            assert eva.get(f"/holdfast/{live}").status_code == 200, path
            assert other.shared.reads == before, path
    assert [record.getMessage() for record in caplog.records] == []


def test_fifty_browsers_of_two_flowers_cost_as_much_as_one(flowers: tuple[Site, Site]) -> None:
    """One reader at a time across processes, too; the others get what it found."""
    planned(KEYED, n=1)
    browsers = [flowers[number % 2].browser("vic") for number in range(50)]
    for flower in flowers:
        flower.shared.forget()
    before = sum(flower.shared.reads for flower in flowers)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda browser: browser.get("/holdfast/?live=1").status_code, browsers))
    assert answers == [200] * 50
    assert sum(flower.shared.reads for flower in flowers) - before <= 8


def test_what_was_done_in_one_flower_shows_in_the_other(flowers: tuple[Site, Site]) -> None:
    """An action forgets what every Flower has kept in common."""
    one, other = flowers
    run_id = planned(KEYED, n=2)
    path = f"/holdfast/runs?text={run_id[:8]}"
    assert "running" in _rows(one, path)
    assert one.browser("olga").post(f"/holdfast/runs/{run_id}/pause", reason="to see").status_code == 303
    # The other has asked for nothing yet: without the forgetting it would find the old list in Redis.
    rows = _rows(other, path)
    assert ("paused" in rows, "running" in rows) == (True, False)


def _rows(site: Site, path: str) -> str:
    text = site.browser("vic").get(f"{path}&live=1").json()["parts"]["runs"]
    return str(text)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_without_redis_each_flower_reads_for_itself(
    servers: Servers, flowers: tuple[Site, Site], caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The pages stay, as quick as before; Redis is not asked each time; once it is back they share again."""
    one, _ = flowers
    planned(KEYED, n=1)
    vic = one.browser("vic")
    getattr(servers.valkey, fault)()
    try:
        assert vic.get("/holdfast/runs").status_code == 200
        one.shared.forget()
        before = one.shared.reads
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: one.browser("vic").get("/holdfast/runs?live=1").status_code, range(10)))
        assert answers == [200] * 10
        assert one.shared.reads - before <= 2
        for path in ("runs?sort=oldest", "dead-letters", "audit", "runs?status=failed"):
            assert vic.get(f"/holdfast/{path}").status_code == 200
        assert sum("each Flower for itself" in record.getMessage() for record in caplog.records) == 1
    finally:
        if fault == "freeze":
            servers.valkey.thaw()
        else:
            servers.valkey.start()
    wait_until(lambda: vic.get("/holdfast/locks").status_code == 200)
