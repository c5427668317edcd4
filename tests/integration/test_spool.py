"""Long lists of a start: stored beside the run's row, streamed to the plan, compared by hash."""

from __future__ import annotations

import json

import pytest

from runstate.audit import Actor
from runstate.letters import Filter
from runstate.statuses import RunStatus
from tasks import clients, control
from tasks.describe import about_start
from tasks.errors import BadArguments, IdempotencyConflict
from tasks.requests import insert_or_find, make_request
from tasks.spool import SpooledList, with_lists
from tests.integration.machinery import admitted, planned, query, request, run_of, work_off
from tests.kinds import FINISHING, KEYED

pytestmark = pytest.mark.usefixtures("machinery")

NAMES = [f"name {n:06d} " + "ü" * 50 for n in range(5_000)]
"""About 600 kB of JSON: more than one part."""


def test_a_long_list_reaches_the_plan_whole_and_in_order() -> None:
    """The row stays small, the plan sees every item once."""
    run_id = request(FINISHING, names=NAMES)
    run = run_of(run_id)
    assert len(json.dumps(run.args)) < 300
    assert query("SELECT COUNT(*) FROM spooled_lists WHERE run_id = :r", r=run_id)[0][0] >= 3
    names = with_lists(run.args, run_id)["names"]
    assert isinstance(names, SpooledList)
    assert len(names) == 5_000
    assert [list(names), list(names)] == [NAMES, NAMES]
    assert about_start(FINISHING, run_id, run.args) == "5000 names"


def test_a_short_list_stays_in_the_row() -> None:
    """Only what does not fit is set aside."""
    run_id = planned(FINISHING, names=["a", "b"])
    assert run_of(run_id).args["names"] == ["a", "b"]
    assert query("SELECT COUNT(*) FROM spooled_lists") == [(0,)]
    work_off(FINISHING, run_id)
    assert query("SELECT note FROM effects ORDER BY job_no") == [("a",), ("b",)]


def test_it_lives_and_dies_with_the_callers_transaction() -> None:
    """enqueue() rolled back leaves no parts behind."""
    with clients.engine().connect() as connection:
        insert_or_find(connection, make_request(FINISHING, (), {"names": NAMES}), message_follows=False)
        connection.rollback()
    assert query("SELECT COUNT(*) FROM spooled_lists") == [(0,)]


def test_an_idempotency_key_compares_the_lists_too() -> None:
    """The same list again is the same start, stored once; another list under the same key is an error."""
    first = request(FINISHING, names=NAMES, idempotency_key="k")
    parts = query("SELECT COUNT(*) FROM spooled_lists")
    assert request(FINISHING, names=NAMES, idempotency_key="k") == first
    assert query("SELECT COUNT(*) FROM spooled_lists") == parts
    with pytest.raises(IdempotencyConflict):
        request(FINISHING, names=[*NAMES[:-1], "other"], idempotency_key="k")


def test_a_replayed_planning_reads_the_list_of_the_run_that_it_replays() -> None:
    """The replay of a failed planning is a run of its own, without a list of its own."""
    run_id = planned(FINISHING, names=NAMES, plan_error="not today")
    assert run_of(run_id).status is RunStatus.FAILED
    (replay,) = control.replay(Filter(run_id=run_id), Actor("t", "again")).replays
    assert replay.replay_run_id is not None
    names = with_lists(run_of(replay.replay_run_id).args, replay.replay_run_id)["names"]
    assert list(names) == NAMES


def test_a_kind_that_spools_nothing_refuses_long_arguments() -> None:
    """With what to do."""
    with pytest.raises(BadArguments, match="put long lists into a file"):
        admitted(KEYED, names=NAMES)
