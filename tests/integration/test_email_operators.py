"""What operators and providers do to a campaign's ledger: reports, resolutions, suppressions, events."""

from __future__ import annotations

from typing import Any

import pytest

from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.admission import admit_run
from tasks.email.events import ingest_event
from tasks.email.kind import CAMPAIGN
from tasks.envelope import run_jobs
from tests.email_server import TAKE_AND_DROP, ScriptedServer
from tests.integration.email_campaigns import ended, ledger, people, row, send, server, start
from tests.integration.machinery import execute, query, run_of
from tests.integration.ops_command import Ops

__all__ = ["server"]

WHY = ("--reason", "the receiver said so", "--actor", "ann")


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Ops:
    return Ops(capsys)


def in_doubt(server: ScriptedServer, *addresses: str, of: int = 4) -> None:
    """A campaign that ends with these in doubt."""
    for address in addresses:
        server.script["DATA", address] = [TAKE_AND_DROP]
    assert send(people(of)).status is RunStatus.COMPLETED


def test_the_report_counts_by_state_code_and_domain(server: ScriptedServer, ops: Ops) -> None:
    """Sent, failed by code and domain, in doubt, and how many a minute."""
    server.script["RCPT", "p1@example.com"] = ["550 5.1.1 no such user"]
    in_doubt(server, "p2@example.com")
    found = ops("email", "report", "news", "--json").document
    assert {state: n for state, n in found["states"].items() if n} == {"sent": 2, "failed": 1, "in_doubt": 1}
    assert (found["recipients"], found["left"], found["status"]) == (4, 0, "completed")
    (failed,) = found["failed_by_code"]
    assert (failed["code"], failed["enhanced"], failed["n"]) == (550, "5.1.1", 1)
    assert found["failed_by_domain"] == [{"domain": "example.com", "failed": 1, "deferred": 0, "in_doubt": 1}]
    assert sum(minute["sent"] for minute in found["sent_per_minute"]) == 2
    text = ops("email", "report", "news").out
    assert "no such user" in text
    assert ops("email", "report", "nothing").code == 3


def test_the_report_says_how_long_the_rest_takes_under_the_limits(server: ScriptedServer, ops: Ops) -> None:
    """The strictest limit counts."""
    start(people(30), rates=("10/s", "60/h"))
    found = ops("email", "report", "news", "--json").document
    assert (found["left"], found["eta_s"]) == (30, 1800)


def test_what_is_in_doubt_is_listed_and_resolved_as_sent_once(server: ScriptedServer, ops: Ops) -> None:
    """With reason, audited; a second word finds nothing to resolve."""
    in_doubt(server, "p1@example.com", "p2@example.com")
    listed = ops("email", "in-doubt", "list", "news", "--json").document
    assert [r["address"] for r in listed] == ["p1@example.com", "p2@example.com"]
    assert ops("email", "in-doubt", "list", "--json").document == listed
    assert "p2@example.com" in ops("email", "in-doubt", "list").out
    assert ops("email", "in-doubt", "resolve", "news", "--as", "sent", "--all").code == 2
    dry = ops("email", "in-doubt", "resolve", "news", "--as", "sent", "--all", "--dry-run", "--json").document
    assert dry["resolved"] == ["p1@example.com", "p2@example.com"]
    assert ledger()["p1@example.com"] == "in_doubt"
    one = ("--address", "P1@example.com", "--json", *WHY)
    done = ops("email", "in-doubt", "resolve", "news", "--as", "sent", *one).document
    assert (done["resolved"], done["run_id"]) == (["p1@example.com"], None)
    again = ops("email", "in-doubt", "resolve", "news", "--as", "resend", *one).document
    assert again["resolved"] == []
    assert (ledger()["p1@example.com"], ledger()["p2@example.com"]) == ("sent", "in_doubt")
    (entry,) = query("SELECT actor, action, subject, reason FROM audit_log WHERE action = 'resolve_in_doubt'")
    assert tuple(entry) == ("ann", "resolve_in_doubt", "campaign news", "the receiver said so")


def test_what_is_resolved_as_resend_is_sent_by_a_new_run(server: ScriptedServer, ops: Ops) -> None:
    """To them alone, with the same Message-ID."""
    in_doubt(server, "p1@example.com")
    done = ops("email", "in-doubt", "resolve", "news", "--as", "resend", "--all", "--json", *WHY).document
    assert ledger()["p1@example.com"] == "pending"
    admit_run(CAMPAIGN, done["run_id"])
    run_jobs(CAMPAIGN, done["run_id"], 0, "test")
    run = ended(done["run_id"])
    assert run.status is RunStatus.COMPLETED, run.reason
    assert server.recipients().count("p1@example.com") == 2
    assert len(server.taken) == 5
    first, second = (taken.data for taken in server.taken if taken.recipient == "p1@example.com")
    message_id = row("p1@example.com").message_id.encode()
    assert message_id in first and message_id in second
    assert set(ledger().values()) == {"sent"}


def test_resend_waits_for_a_campaign_that_still_runs(server: ScriptedServer, ops: Ops) -> None:
    """Resolved at once, sent once the run has ended."""
    in_doubt(server, "p1@example.com", of=2)
    run_id = start(people(4))
    done = ops("email", "in-doubt", "resolve", "news", "--as", "resend", "--all", "--json", *WHY).document
    assert done["run_id"] is None
    assert ops("email", "resend", "news", *WHY).code == 2
    assert ended(run_id).status is RunStatus.COMPLETED
    assert ledger()["p1@example.com"] == "pending"
    started = ops("email", "resend", "news", "--json", *WHY).document
    assert run_of(started["run_id"]).args["recipients"] == {"ledger": "resend"}


def test_suppressions_are_added_listed_and_removed_with_a_reason(server: ScriptedServer, ops: Ops) -> None:
    """Scope and expiry; every change is audited; a scope that is none is not understood."""
    arguments = ("Ann@Example.com", "--scope", "list:news", "--for", "3600")
    assert ops("email", "suppressions", "add", *arguments).code == 2
    assert ops("email", "suppressions", "add", *arguments, *WHY).code == 0
    (found,) = ops("email", "suppressions", "list", "--json").document
    assert (found["address"], found["scope"], found["reason"]) == ("ann@example.com", "list:news", "manual")
    assert found["expires_at"]
    assert ops("email", "suppressions", "remove", "ann@example.com", *WHY).code == 3
    assert ops("email", "suppressions", "remove", "ann@example.com", "--scope", "list:news", *WHY).code == 0
    assert ops("email", "suppressions", "list", "--json").document == []
    assert ops("email", "suppressions", "add", "ann@example.com", "--scope", "elsewhere", *WHY).code == 2
    assert [r[0] for r in query("SELECT action FROM audit_log ORDER BY id")] == ["suppress", "unsuppress"]


def ingest(payload: dict[str, Any], **options: Any) -> list[str]:
    found = in_transaction(clients.engine(), lambda c: ingest_event(c, payload, **options))
    return [event.event for event in found]


def test_an_event_acts_once_however_often_it_is_delivered(server: ScriptedServer) -> None:
    """A bounce suppresses and stands in the ledger; delivered again, or after an operator lifted it, it does nothing."""
    send(people(2))
    message_id = row("p0@example.com").message_id
    bounce = {
        "event": "bounce",
        "address": "P0@example.com",
        "id": "b1",
        "message_id": message_id,
        "detail": "550 5.1.1 no such user",
    }
    assert ingest(bounce) == ["bounce"]
    assert ingest(bounce) == []
    assert row("p0@example.com").event == "bounce"
    execute("DELETE FROM email_suppressions")
    assert ingest(bounce) == []
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]
    assert ingest({**bounce, "id": "b2", "event": "complaint"}, scope="list:news") == ["complaint"]
    assert query("SELECT address, scope, reason FROM email_suppressions") == [
        ("p0@example.com", "list:news", "complaint")
    ]


def test_a_report_about_a_message_in_doubt_proves_that_it_was_sent(server: ScriptedServer) -> None:
    """The provider could not report on what it does not have."""
    in_doubt(server, "p1@example.com")
    message_id = row("p1@example.com").message_id.strip("<>")
    report = {"event": "delivered", "address": "p1@example.com", "id": "d1", "message_id": message_id}
    assert ingest(report) == ["delivered"]
    assert (row("p1@example.com").state, row("p1@example.com").event) == ("sent", "delivered")
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]


def test_a_dead_job_s_recipients_in_the_middle_of_sending_are_in_doubt_at_the_end(server: ScriptedServer) -> None:
    """Nobody comes by to say so but the run's end."""
    run_id = start(people(2), batch_size=1)
    execute("UPDATE email_recipients SET state = 'sending', batch = 99 WHERE address = 'p0@example.com'")
    assert ended(run_id).status is RunStatus.COMPLETED
    assert ledger() == {"p0@example.com": "in_doubt", "p1@example.com": "sent"}
