"""Any sequence of edits, deletes and creates on both sides, of syncs, faults and deaths between them, ends with equal sides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tasks import clients
from tasks.sync.connections import forget_connectors
from tests.integration.machinery import execute
from tests.kinto_server import PASSWORD, USER, KintoServer
from tests.sync_api import ITEMS
from tests.sync_machine import TwoSides, machine_settings


@pytest.fixture
def shop(machinery: None, kinto: KintoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[KintoServer]:
    """An empty collection, an empty table ``items``, and the connection ``shop`` between them."""
    monkeypatch.setenv("HOLDFAST_SYNC", "tests.sync_shop:BUSY_SHOP")
    monkeypatch.setenv("SYNC_CONNECTION_SHOP", kinto.url.replace("://", f"://{USER}:{PASSWORD}@"))
    clients.reset()
    forget_connectors()
    execute(ITEMS)
    yield kinto
    forget_connectors()


# Some fifty syncs: on a busy machine more than a test may usually take.
@pytest.mark.timeout(300)
def test_both_sides_end_equal_whatever_happens(shop: KintoServer) -> None:
    """Writes stop within two rounds, both sides are equal, and nothing is lost that no policy decided."""
    machine = TwoSides.on(shop)
    run_state_machine_as_test(machine, settings=machine_settings(12, 12))
    assert set(machine.fired) == {"lost", "refused", "killed", "overtaken", "deleted under"}
