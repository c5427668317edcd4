"""The example producers."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import producer
from examples.catalogue import CREATE_TABLE
from runstate.errors import NotFound
from runstate.statuses import RunStatus
from tasks import clients, start_import
from tests.integration.machinery import execute, query, run_of

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.fixture(autouse=True)
def tables(machinery: None) -> None:
    """The tables of the examples."""
    execute(CREATE_TABLE)
    execute(producer.CREATE_UPLOADS)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "catalogue.csv")


def test_a_start_is_in_mysql_when_delay_returns(path: str) -> None:
    """The smallest producer gets the id of a run that is written down."""
    run = run_of(producer.start(path))
    assert (run.status, run.admission_key) == (RunStatus.REQUESTED, "demo_products")


def test_upload_and_start_are_recorded_together(path: str) -> None:
    """The run and the row that belongs to it come with one commit."""
    run_id = producer.start_with_upload(clients.engine(), path)
    assert run_of(run_id).status is RunStatus.REQUESTED
    assert query("SELECT path, run_id FROM demo_uploads") == [(path, run_id)]


def test_neither_is_recorded_when_the_transaction_fails(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that was enqueued in a transaction is rolled back with it."""
    started: list[str] = []
    enqueue = start_import.enqueue

    def remember(*args: object, **kwargs: object) -> object:
        result = enqueue(*args, **kwargs)
        started.append(result.run_id)
        return result

    monkeypatch.setattr(start_import, "enqueue", remember)
    monkeypatch.setattr(
        producer, "text", lambda _: (_ for _ in ()).throw(RuntimeError("the upload cannot be recorded"))
    )
    with pytest.raises(RuntimeError):
        producer.start_with_upload(clients.engine(), path)
    monkeypatch.undo()
    (run_id,) = started
    with pytest.raises(NotFound):
        run_of(run_id)
    assert query("SELECT COUNT(*) FROM demo_uploads") == [(0,)]


def test_a_web_handler_answers_202_then_409_then_400(path: str) -> None:
    """The second request gets a conflict that names the active run, a wrong one is told so."""
    status, body = producer.answer_request(path)
    assert (status, run_of(body["run"]).status) == (202, RunStatus.PLANNING)
    again, conflict = producer.answer_request(path)
    assert (again, conflict["active_run"]) == (409, body["run"])
    assert producer.answer_request("s3://bucket/file.csv")[0] == 400
