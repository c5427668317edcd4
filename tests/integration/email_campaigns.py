"""Campaigns in this process, against a real mail server on loopback: the machinery as a function call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runstate.runs import Run
from runstate.statuses import RunStatus
from tasks import clients
from tasks.email.kind import CAMPAIGN, _connections
from tests.email_server import ScriptedServer, scripted_server
from tests.integration.machinery import execute, planned, query, run_of, work_off


@pytest.fixture
def server(machinery: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """The provider `default` of this process."""
    with scripted_server() as running:
        monkeypatch.setenv("EMAIL_PROVIDER_DEFAULT", running.url)
        monkeypatch.setenv("IMPORT_ROOTS", str(tmp_path))
        clients.reset()
        yield running
        _connections.close_all()
    clients.reset()


def start(recipients: Any, name: str = "news", **options: Any) -> str:
    """Plan a campaign; the run's id."""
    defaults: dict[str, Any] = {
        "template": {"html": "<p>Hello {{ name }}</p>"},
        "subject": "For {{ name }}",
        "sender": "News <news@sender.example.com>",
        "list_unsubscribe": False,
        "rates": None,
        "retry_s": 0.001,
        "max_in_flight": 1,
    }
    return planned(CAMPAIGN, name=name, recipients=recipients, **(defaults | options))


def people(n: int, first: int = 0) -> list[dict[str, str]]:
    return [{"email": f"p{i}@example.com", "name": f"P{i}"} for i in range(first, first + n)]


def send(recipients: Any, **options: Any) -> Run:
    """A campaign from start to end."""
    run_id = start(recipients, **options)
    return ended(run_id)


def ended(run_id: str) -> Run:
    """Work until the run has ended, letting out what is due later as the dispatcher would."""
    for _ in range(50):
        work_off(CAMPAIGN, run_id)
        if run_of(run_id).ended or run_of(run_id).status is RunStatus.PAUSED:
            return run_of(run_id)
        let_out(run_id)
    raise AssertionError(f"run {run_id} does not end: {query('SELECT * FROM jobs WHERE run_id = :r', r=run_id)}")


def let_out(run_id: str) -> None:
    """What the dispatcher does with due jobs, without waiting for them to be due."""
    execute("UPDATE email_recipients SET due_at = NOW(6) WHERE state = 'deferred'")
    execute(
        "UPDATE jobs SET state = 'queued', queued_at = NOW(6), due_at = NOW(6) WHERE run_id = :r AND state = 'pending'",
        r=run_id,
    )


def ledger(name: str = "news") -> dict[str, str]:
    rows = query("SELECT address, state FROM email_recipients WHERE campaign = :c ORDER BY batch, line", c=name)
    return {row.address: row.state for row in rows}


def row(address: str) -> Any:
    return query("SELECT * FROM email_recipients WHERE address = :a", a=address)[0]
