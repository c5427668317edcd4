"""Several phases in one COMMIT: what goes wrong with one message of a flight leaves the others known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runstate.audit import Actor
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, control, failpoints
from tasks.email.kind import CAMPAIGN, _limiter
from tasks.email.suppressions import suppress
from tasks.email.throttle import provider_key
from tests.email_server import TAKE_AND_DROP, ScriptedServer
from tests.integration.email_campaigns import ended, ledger, people, row, send, server, start
from tests.integration.machinery import work_off

__all__ = ["server"]

FLIGHTS: dict[str, Any] = {"max_in_flight": 8}
"""Flights of 1, 2, 4 and 8 recipients: p0; p1 and p2; p3 to p6; p7 to p14."""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, flights are as large as they may be."""
    monkeypatch.setattr("tasks.email.flight.FLIGHT_S", 60.0)
    monkeypatch.setattr("tasks.email.kind._flight_size", 1)


def everybody(n: int) -> list[str]:
    return [f"p{i}@example.com" for i in range(n)]


def checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the flights whose phases are committed."""
    from tasks.email import ledger as ledger_module

    sizes: list[int] = []
    real = ledger_module.begin

    def counting(connection, begun, **options):  # type: ignore[no-untyped-def]
        sizes.append(len(begun))
        return real(connection, begun, **options)

    monkeypatch.setattr(ledger_module, "begin", counting)
    return sizes


def test_flights_grow_and_every_answer_finds_its_recipient(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of a whole flight are written in one statement, each with its own queue id."""
    sizes = checkpoints(monkeypatch)
    server.script["RCPT", "p4@example.com"] = ["550 5.1.1 no such user"]
    server.script["DATA", "p9@example.com"] = ["451 4.3.0 later"]
    assert send(people(15), **FLIGHTS).status is RunStatus.COMPLETED
    assert sizes[:4] == [1, 2, 4, 8]
    assert [who for who, state in ledger().items() if state != "sent"] == ["p4@example.com"]
    for number, who in enumerate(server.recipients(), start=1):
        assert (row(who).queue_id, row(who).attempts) == (f"Q{number:06d}", 2 if who == "p9@example.com" else 1)


def test_a_policy_block_in_the_middle_of_a_flight_costs_the_others_nothing(server: ScriptedServer) -> None:
    """They were committed to be sent, were not, and this process lives to say so."""
    server.script["DATA", "p4@example.com"] = ["554 5.7.1 blocked"]
    run = send(people(15), **FLIGHTS)
    assert run.status is RunStatus.PAUSED
    assert server.recipients() == everybody(4)
    assert [*ledger().values()] == ["sent"] * 4 + ["claimed"] * 11
    control.resume(run.run_id, Actor("test", "lifted"))
    assert ended(run.run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == sorted(everybody(15))
    assert {row(who).attempts for who in everybody(15)} == {1}


def test_a_throttle_in_the_middle_of_a_flight_costs_no_attempt(server: ScriptedServer) -> None:
    """454 for the second of four."""
    server.script["DATA", "p4@example.com"] = ["454 4.7.0 slow"]
    run_id = start(people(15), **FLIGHTS)
    work_off(CAMPAIGN, run_id)
    assert [*ledger().values()] == ["sent"] * 4 + ["claimed"] * 11
    _limiter().resume(provider_key("default"))
    assert ended(run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == sorted(everybody(15))
    assert {row(who).attempts for who in everybody(15)} == {1}


def test_one_in_doubt_leaves_the_rest_of_its_flight_to_be_sent(server: ScriptedServer) -> None:
    """The connection is gone, the others go by another."""
    server.script["DATA", "p4@example.com"] = [TAKE_AND_DROP]
    assert send(people(15), **FLIGHTS).status is RunStatus.COMPLETED
    assert [who for who, state in ledger().items() if state != "sent"] == ["p4@example.com"]
    assert sorted(server.recipients()) == sorted(everybody(15))


@pytest.mark.parametrize("point", ["email.before_data", "email.after_data"])
def test_whoever_is_killed_in_a_flight_leaves_no_more_than_the_flight_in_doubt(
    server: ScriptedServer, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flight of four, its second message: four in doubt, two of them with one copy, nobody with two, nobody missing."""
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    run_id = start(people(15), **FLIGHTS)
    for number in range(4):
        (tmp_path / f"{point}.{number}").write_text("delay 0")
    (tmp_path / f"{point}.4").write_text("raise")
    with monkeypatch.context() as killed:
        # From the shot on nothing is written any more, as if the process was gone.
        from tasks.email.sending import Sender

        real = Sender._write_results

        def until_shot(self: Sender, connection: object) -> None:
            if not any(shot.name.startswith(f"{point}.4.") for shot in tmp_path.iterdir()):
                real(self, connection)  # type: ignore[arg-type]

        killed.setattr(Sender, "_write_results", until_shot)
        work_off(CAMPAIGN, run_id)
    assert [*ledger().values()][3:7] == ["sending"] * 4
    assert ended(run_id).status is RunStatus.COMPLETED
    assert [who for who, state in ledger().items() if state == "in_doubt"] == everybody(7)[3:]
    got = server.recipients()
    assert len(got) == len(set(got))
    copies = [who for who in everybody(7)[3:] if who in got]
    assert copies == (everybody(5)[3:] if point == "email.after_data" else everybody(4)[3:])
    assert set(everybody(15)) - set(got) <= set(everybody(7)[3:])


def test_an_unsubscription_before_the_flight_is_heard(server: ScriptedServer) -> None:
    """One of eight: the other seven are sent to."""
    server.on_data["p0@example.com"] = lambda: in_transaction(
        clients.engine(), lambda c: suppress(c, "p9@example.com", reason="unsubscribe")
    )
    assert send(people(15), **FLIGHTS).status is RunStatus.COMPLETED
    assert [who for who, state in ledger().items() if state != "sent"] == ["p9@example.com"]
    assert ledger()["p9@example.com"] == "suppressed"
    assert "p9@example.com" not in server.recipients()


def test_a_pause_acts_before_the_next_flight(server: ScriptedServer) -> None:
    """What is in the air lands and is known to."""
    run_id = start(people(15), **FLIGHTS)
    server.on_data["p3@example.com"] = lambda: control.pause(run_id, Actor("test", "stop"))
    work_off(CAMPAIGN, run_id)
    assert server.recipients() == everybody(7)
    assert [*ledger().values()] == ["sent"] * 7 + ["claimed"] * 8
