"""A campaign from its start to its result, through the machinery, against a real mail server on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runstate.audit import Actor
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from stack.private import Servers
from tasks import clients, control, failpoints, metrics
from tasks.email import ledger as ledger_module
from tasks.email.kind import CAMPAIGN, _connections, _limiter
from tasks.email.ledger import PlanLost, Planned, settle, write_planned
from tasks.email.suppressions import suppress
from tasks.email.throttle import provider_key
from tasks.envelope import run_jobs
from tests.cleaning import flush_valkey
from tests.email_server import DROP, TAKE_AND_DROP, ScriptedServer
from tests.integration.email_campaigns import ended, ledger, let_out, people, row, send, server, start
from tests.integration.machinery import execute, query, run_of, work_off
from tests.waiting import wait_until

__all__ = ["server"]


def test_a_csv_of_three_recipients_is_sent(server: ScriptedServer, tmp_path: Path) -> None:
    """Each gets its own message, and the ledger has the server's answer and queue id."""
    path = tmp_path / "list.csv"
    path.write_text("email,name\nann@example.com,Ann\nbob@example.com,Bob\ncem@EXAMPLE.com,Cem\n")
    run = send(str(path))
    assert run.status is RunStatus.COMPLETED, run.reason
    assert server.recipients() == ["ann@example.com", "bob@example.com", "cem@example.com"]
    assert b"Subject: For Bob" in server.taken[1].data
    bob = row("bob@example.com")
    assert (bob.state, bob.code, bob.enhanced, bob.queue_id, bob.attempts) == ("sent", 250, "2.0.0", "Q000002", 1)
    assert bob.message_id.encode() in server.taken[1].data
    assert run.result is not None
    assert (run.result["sent"], run.result["planned"], run.result["pending"]) == (3, 3, 0)
    assert server.connections == 1


# -- what answers lead to -----------------------------------------------------------------------------------------------


def test_a_hard_bounce_fails_and_suppresses_the_address_for_the_next_campaign(server: ScriptedServer) -> None:
    """5.1.1 to p1: the others are sent to, and the next campaign leaves p1 out with the reason."""
    server.script["RCPT", "p1@example.com"] = ["550 5.1.1 no such user"]
    assert send(people(3)).status is RunStatus.COMPLETED
    assert ledger() == {"p0@example.com": "sent", "p1@example.com": "failed", "p2@example.com": "sent"}
    assert (row("p1@example.com").code, row("p1@example.com").enhanced) == (550, "5.1.1")
    send(people(3), name="second")
    assert ledger("second")["p1@example.com"] == "suppressed"
    (reason,) = query("SELECT reason FROM email_recipients WHERE campaign = 'second' AND state = 'suppressed'")
    assert reason == ("bounce (global)",)
    assert server.recipients().count("p1@example.com") == 0


def test_a_policy_block_pauses_the_campaign_and_keeps_the_address(server: ScriptedServer) -> None:
    """5.7.1 behind the final dot: paused by system, nobody suppressed; resumed, everybody gets one."""
    server.script["DATA", "p1@example.com"] = ["554 5.7.1 blocked"]
    run = send(people(4))
    assert run.status is RunStatus.PAUSED
    assert "5.7.1 blocked" in (run.reason or "")
    assert server.recipients() == ["p0@example.com"]
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]
    control.resume(run.run_id, Actor("test", "block lifted"))
    assert ended(run.run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(4)]
    assert row("p1@example.com").attempts == 1


def test_an_authentication_error_pauses_and_says_which_provider(server: ScriptedServer) -> None:
    """Nothing is sent, no recipient is touched."""
    server.always["MAIL"] = "530 5.7.0 authentication required"
    run = send(people(2))
    assert run.status is RunStatus.PAUSED
    assert "provider default does not let us in: 530" in (run.reason or "")
    assert server.taken == []


def test_a_deferred_recipient_comes_again_in_a_later_job_with_its_own_count(server: ScriptedServer) -> None:
    """The batch is done; its deferred ones are another job of the same run."""
    server.script["RCPT", "p1@example.com"] = ["450 4.2.0 greylisted"]
    run = send(people(3))
    assert run.status is RunStatus.COMPLETED
    assert server.recipients() == ["p0@example.com", "p2@example.com", "p1@example.com"]
    assert [row(f"p{n}@example.com").attempts for n in range(3)] == [1, 2, 1]
    assert query("SELECT COUNT(*), SUM(attempts) FROM jobs WHERE run_id = :r AND role = 'work'", r=run.run_id) == [
        (2, 0)
    ]


def test_attempts_run_out_and_the_recipient_failed(server: ScriptedServer) -> None:
    """Three tries, then failed, not suppressed."""
    server.script["DATA", "p1@example.com"] = ["451 4.3.0 local error"] * 9
    run = send(people(2), max_attempts=3)
    assert run.status is RunStatus.COMPLETED
    found = row("p1@example.com")
    assert (found.state, found.attempts, found.reason) == ("failed", 3, "given up after 3 attempts")
    assert len([1 for _, verb, who in server.asked if (verb, who) == ("DATA", "p1@example.com")]) == 3
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]


def test_a_disabled_mailbox_is_hard_the_second_time(server: ScriptedServer) -> None:
    """5.2.1 once defers, twice suppresses."""
    server.script["RCPT", "p0@example.com"] = ["550 5.2.1 disabled"]
    server.script["RCPT", "p1@example.com"] = ["550 5.2.1 disabled"] * 2
    send(people(2))
    assert ledger() == {"p0@example.com": "sent", "p1@example.com": "failed"}
    assert query("SELECT address FROM email_suppressions") == [("p1@example.com",)]


def test_a_throttling_provider_is_left_alone_and_nobody_loses_an_attempt(server: ScriptedServer) -> None:
    """454: the job goes back as a snooze, the key is paused for all, and the list is complete in the end."""
    server.always["DATA"] = "454 Throttling failure: Maximum sending rate exceeded"
    run_id = start(people(3))
    work_off(CAMPAIGN, run_id)
    assert server.taken == []
    assert len([1 for _, verb, _ in server.asked if verb == "DATA"]) == 1
    assert _limiter().paused([provider_key("default")])
    assert query("SELECT state, attempts FROM jobs WHERE run_id = :r AND job_no = 1", r=run_id) == [("pending", 0)]
    # While it is paused the server hears nothing, whoever asks.
    let_out(run_id)
    work_off(CAMPAIGN, run_id)
    assert len([1 for _, verb, _ in server.asked if verb == "DATA"]) == 1
    server.always.clear()
    _limiter().resume(provider_key("default"))
    assert ended(run_id).status is RunStatus.COMPLETED
    # The one that was refused comes behind those that were never tried.
    assert server.recipients() == ["p1@example.com", "p2@example.com", "p0@example.com"]
    assert [row(f"p{n}@example.com").attempts for n in range(3)] == [1, 1, 1]


def test_a_recipient_that_the_server_always_hangs_up_at_runs_out_of_attempts(server: ScriptedServer) -> None:
    """421 at one recipient, again and again: the others get theirs, and it does not pause the provider for ever."""
    server.script["RCPT", "p0@example.com"] = ["421 4.3.0 try again later"] * 9
    run_id = start(people(2), max_attempts=3)
    for _ in range(9):
        _limiter().resume(provider_key("default"))
        if run_of(run_id).ended:
            break
        let_out(run_id)
        work_off(CAMPAIGN, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert server.recipients() == ["p1@example.com"]
    # The first one is the provider's; from the second one on it is the recipient's.
    assert (row("p0@example.com").state, row("p0@example.com").attempts) == ("failed", 3)
    assert len([1 for _, verb, who in server.asked if (verb, who) == ("RCPT", "p0@example.com")]) == 4


def test_a_message_that_is_refused_fails_and_three_in_a_row_pause(server: ScriptedServer) -> None:
    """552 is not the address's fault; three of them are the message's."""
    server.always["DATA"] = "552 5.3.4 message too big"
    run = send(people(5))
    assert run.status is RunStatus.PAUSED
    assert [*ledger().values()].count("failed") == 3
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]


# -- what nobody can know -----------------------------------------------------------------------------------------------


def test_a_connection_lost_behind_the_message_leaves_it_in_doubt(server: ScriptedServer) -> None:
    """The server has it and never said so: exactly one copy, never sent again on its own."""
    server.script["DATA", "p1@example.com"] = [TAKE_AND_DROP]
    run = send(people(3))
    assert run.status is RunStatus.COMPLETED
    assert run.result is not None
    assert run.result["in_doubt"] == 1
    assert ledger()["p1@example.com"] == "in_doubt"
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(3)]
    send(people(3))
    assert len(server.taken) == 3


def test_what_is_in_doubt_is_sent_again_where_that_is_the_policy(server: ScriptedServer) -> None:
    """in_doubt='resend': two copies rather than none, with one Message-ID."""
    server.script["DATA", "p1@example.com"] = [TAKE_AND_DROP]
    assert send(people(2), in_doubt="resend").status is RunStatus.COMPLETED
    assert server.recipients().count("p1@example.com") == 2
    assert ledger()["p1@example.com"] == "sent"
    first, second = [taken.data for taken in server.taken if taken.recipient == "p1@example.com"]
    message_id = row("p1@example.com").message_id.encode()
    assert message_id in first and message_id in second


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_a_connection_lost_before_the_message_is_no_attempt(server: ScriptedServer, verb: str) -> None:
    """Nothing was taken: the job waits a little and goes on."""
    who = "news@sender.example.com" if verb == "MAIL" else "p1@example.com"
    server.script[verb, who] = [DROP]
    run_id = start(people(3))
    work_off(CAMPAIGN, run_id)
    _limiter().resume(provider_key("default"))
    assert ended(run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(3)]
    assert [row(f"p{n}@example.com").attempts for n in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("point", ["email.before_data", "email.after_data"])
def test_whoever_dies_behind_the_phase_leaves_one_in_doubt(
    server: ScriptedServer, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phase was committed: the next claim of the job says in doubt, and sends to the others."""
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    # As a killed process: nothing is written on the way out.
    monkeypatch.setattr("tasks.email.sending.Sender.flush", lambda self: None)
    (tmp_path / f"{point}.1").write_text("raise")
    run_id = start(people(3))
    work_off(CAMPAIGN, run_id)
    assert ledger()["p0@example.com"] == "sending"
    monkeypatch.undo()
    monkeypatch.setenv("EMAIL_PROVIDER_DEFAULT", server.url)
    clients.reset()
    assert ended(run_id).status is RunStatus.COMPLETED
    assert ledger() == {"p0@example.com": "in_doubt", "p1@example.com": "sent", "p2@example.com": "sent"}
    assert server.recipients().count("p0@example.com") == (1 if point == "email.after_data" else 0)


def test_whoever_dies_before_the_phase_is_committed_has_sent_nothing(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint fails: nobody is in doubt, everybody gets one."""
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    run_id = start(people(3))
    # The first checkpoint of a job claims its batch, the second is the first recipient's phase.
    (tmp_path / "checkpoint.before_commit.1").write_text("delay 0")
    (tmp_path / "checkpoint.before_commit.2").write_text("raise")
    assert ended(run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(3)]
    assert set(ledger().values()) == {"sent"}
    # The connection that was left in the middle of an envelope is not used again: that would cost an attempt.
    assert [row(f"p{n}@example.com").attempts for n in range(3)] == [1, 1, 1]


def test_a_late_answer_settles_what_the_next_claim_called_in_doubt(server: ScriptedServer) -> None:
    """Definite answers are definite, also those of a worker that lost its claim meanwhile."""

    def steal() -> None:
        execute("UPDATE jobs SET claim_token = 'stolen' WHERE job_no = 1")
        execute("UPDATE email_recipients SET state = 'in_doubt' WHERE state = 'sending'")

    server.on_data["p0@example.com"] = steal
    run_id = start(people(3))
    run_jobs(CAMPAIGN, run_id, 1, "test")
    assert server.recipients() == ["p0@example.com"]
    assert ledger() == {"p0@example.com": "sent", "p1@example.com": "claimed", "p2@example.com": "claimed"}


def test_an_operator_s_word_is_not_overruled_by_a_late_answer(server: ScriptedServer) -> None:
    """Resolved while the answer was on its way."""
    server.on_data["p0@example.com"] = lambda: execute(
        "UPDATE email_recipients SET state = 'pending', claim = NULL WHERE state = 'sending'"
    )
    run_id = start(people(1))
    run_jobs(CAMPAIGN, run_id, 1, "test")
    assert ledger() == {"p0@example.com": "pending"}


# -- steering -----------------------------------------------------------------------------------------------------------


def test_an_unsubscription_takes_effect_in_the_running_campaign(server: ScriptedServer) -> None:
    """Suppressed while the batch is in a worker's hands: not sent to."""
    server.on_data["p0@example.com"] = lambda: in_transaction(
        clients.engine(), lambda c: suppress(c, "P1@example.com", reason="unsubscribe", scope="list:news")
    )
    assert send(people(3), unsubscribe_scope="list:news").status is RunStatus.COMPLETED
    assert server.recipients() == ["p0@example.com", "p2@example.com"]
    assert ledger()["p1@example.com"] == "suppressed"


@pytest.mark.parametrize(
    ("scope", "for_s", "sent"),
    [
        ("global", None, False),
        ("provider:default", None, False),
        ("campaign:news", None, False),
        ("list:other", None, True),
        ("provider:other", None, True),
        ("global", -1.0, True),
        ("global", 3600.0, False),
    ],
)
def test_suppressions_hold_within_their_scope_and_time(
    server: ScriptedServer, scope: str, for_s: float | None, sent: bool
) -> None:
    """Everywhere, at a provider, in a campaign, on a list; until they expire."""
    in_transaction(clients.engine(), lambda c: suppress(c, "p0@example.com", reason="manual", scope=scope, for_s=for_s))
    send(people(1))
    assert bool(server.taken) is sent
    assert ledger()["p0@example.com"] == ("sent" if sent else "suppressed")


def test_a_pause_acts_before_the_next_message_and_resume_sends_the_rest(server: ScriptedServer) -> None:
    """What was under way is known to be sent; union the list, intersection empty."""
    run_id = start(people(6), batch_size=3)
    server.on_data["p1@example.com"] = lambda: control.pause(run_id, Actor("test", "stop it"))
    work_off(CAMPAIGN, run_id)
    assert server.recipients() == ["p0@example.com", "p1@example.com"]
    assert ledger()["p1@example.com"] == "sent"
    server.on_data.clear()
    control.resume(run_id, Actor("test", "go on"))
    assert ended(run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(6)]


def test_a_cancel_acts_before_the_next_message(server: ScriptedServer) -> None:
    """The rest stands as cancelled, and a second run of the name sends to them alone."""
    run_id = start(people(6), batch_size=3)
    server.on_data["p1@example.com"] = lambda: control.cancel(run_id, Actor("test", "wrong text"))
    work_off(CAMPAIGN, run_id)
    server.on_data.clear()
    from tasks.dispatcher import Dispatcher

    Dispatcher().round()
    assert run_of(run_id).status is RunStatus.CANCELLED
    in_transaction(clients.engine(), lambda c: settle(c, "news"))
    assert [*ledger().values()] == ["sent", "sent", "cancelled", "cancelled", "cancelled", "cancelled"]
    assert send(people(6)).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(6)]


# -- planning -----------------------------------------------------------------------------------------------------------


def test_a_second_run_of_the_name_sends_to_those_alone_that_have_none(server: ScriptedServer) -> None:
    """The ledger is the campaign's, not the run's."""
    send(people(3))
    run = send(people(5))
    assert run.result is not None
    assert (run.result["planned"], run.result["sent"]) == (2, 5)
    assert sorted(server.recipients()) == [f"p{n}@example.com" for n in range(5)]


def test_each_address_gets_one_message_however_often_it_stands_there(server: ScriptedServer) -> None:
    """Upper and lower case, spaces: one recipient; a text that is no address is refused with its line."""
    run = send([*people(2), {"email": " P0@EXAMPLE.com ", "name": "again"}, {"email": "nobody", "name": "x"}])
    assert server.recipients() == ["p0@example.com", "p1@example.com"]
    assert run.result is not None
    assert (run.result["read"], run.result["planned"], run.result["refused"]) == (4, 2, 1)
    (refused,) = query("SELECT state, line, address, reason FROM email_recipients WHERE state = 'failed'")
    assert (refused.line, refused.address) == (4, "nobody")
    assert refused.reason


def test_a_missing_variable_fails_the_planning_with_its_line(server: ScriptedServer, tmp_path: Path) -> None:
    """Before anything is sent."""
    path = tmp_path / "list.csv"
    path.write_text("email,name\n" + "".join(f"p{n}@example.com,P{n}\n" for n in range(40)) + "last@example.com,\n")
    run_id = start(str(path), template={"html": "{{ nme }}"}, batch_size=10)
    run = run_of(run_id)
    assert run.status is RunStatus.FAILED
    assert "line 2" in (run.reason or "")
    assert "nme" in (run.reason or "")
    assert server.asked == []


def test_a_planner_that_takes_over_from_a_lost_one_plans_nobody_twice(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the ledger was written by the lost one."""
    from tests.integration.machinery import admitted

    monkeypatch.setattr("tasks.email.planning.PART_RECIPIENTS", 10)
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    calls = 0
    real = ledger_module.write_planned

    def dies_once(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ValueError("lost")
        return real(*args, **kwargs)

    monkeypatch.setattr(ledger_module, "write_planned", dies_once)
    arguments = {
        "template": {"text": "x"},
        "subject": "s",
        "sender": "n@sender.example.com",
        "list_unsubscribe": False,
        "rates": None,
    }
    run_id = admitted(CAMPAIGN, name="news", recipients=people(40), batch_size=5, **arguments)
    run_jobs(CAMPAIGN, run_id, 0, "test")
    assert query("SELECT COUNT(*) FROM email_recipients") == [(20,)]
    assert ended(run_id).status is RunStatus.COMPLETED
    assert sorted(server.recipients()) == sorted(f"p{n}@example.com" for n in range(40))
    assert query("SELECT COUNT(*), COUNT(DISTINCT plan) FROM email_recipients") == [(40, 1)]


def test_a_planner_that_lost_its_place_writes_no_more(server: ScriptedServer) -> None:
    """It woke up late: the ledger is another planning's."""
    send(people(2))
    row = Planned("x@example.com", "x@example.com", 1, "{}")
    with pytest.raises(PlanLost):
        in_transaction(
            clients.engine(),
            lambda c: write_planned(c, "news", [(0, row)], plan="old", provider="default", resend=False),
        )


def test_a_dry_run_counts_and_sends_nothing(server: ScriptedServer) -> None:
    """It says what a start would do, and leaves no ledger."""
    send(people(2))
    run = send([*people(5), {"email": "nobody", "name": "x"}], dry_run=True)
    assert run.status is RunStatus.COMPLETED
    assert run.result is not None
    assert (run.result["read"], run.result["planned"], run.result["refused"]) == (6, 3, 1)
    assert len(server.taken) == 2
    assert len(ledger()) == 2


def test_a_provider_that_is_not_set_fails_the_run_and_says_how_to_set_it(server: ScriptedServer) -> None:
    """Before anything is planned."""
    assert "EMAIL_PROVIDER_OTHER" in (run_of(start(people(1), provider="other")).reason or "")


# -- limits -------------------------------------------------------------------------------------------------------------


def test_a_long_wait_is_a_snooze_and_a_short_one_is_slept(server: ScriptedServer) -> None:
    """Two in two minutes: the third waits in MySQL, not in a worker; no attempt used."""
    metrics.take()
    run_id = start(people(3), rates=("2/2min",))
    work_off(CAMPAIGN, run_id)
    assert len(server.taken) == 2
    (job,) = query(
        "SELECT state, attempts, TIMESTAMPDIFF(SECOND, NOW(6), due_at) AS due FROM jobs WHERE run_id = :r AND job_no = 1",
        r=run_id,
    )
    assert (job.state, job.attempts) == ("pending", 0)
    assert 110 <= job.due <= 120
    counted = {dict(series.labels)["answer"]: n for series, n in metrics.take().items() if "limited" in series.name}
    assert counted == {"slot": 2, "later": 1}
    assert list(ledger().values()) == ["sent", "sent", "claimed"]


def test_domains_have_limits_of_their_own(server: ScriptedServer) -> None:
    """One group of two domains shares one limit; other domains are not held up by it."""
    recipients = [f"{who}@{domain}" for who in "ab" for domain in ("gmail.com", "googlemail.com", "example.com")]
    run_id = start(
        [{"email": "x@example.com", "name": "x"}, *({"email": address, "name": "n"} for address in recipients)],
        domain_rates={"gmail.com,googlemail.com": "1/min"},
        batch_size=1,
    )
    for _ in range(8):
        work_off(CAMPAIGN, run_id)
    assert sorted(server.recipients()) == ["a@example.com", "a@gmail.com", "b@example.com", "x@example.com"]


def test_a_slow_domain_holds_up_nobody_else_of_its_batch(server: ScriptedServer) -> None:
    """In one batch the others are sent to at once, whatever the order; the slow ones wait, none loses an attempt."""
    slow = [f"{who}@gmail.com" for who in "abc"]
    recipients = [*slow[:2], "x@example.com", "y@example.com", slow[2], "z@example.com"]
    run_id = start(
        [{"email": address, "name": "n"} for address in recipients], domain_rates={"gmail.com": "1/min"}, batch_size=10
    )
    work_off(CAMPAIGN, run_id)
    assert sorted(server.recipients()) == ["a@gmail.com", "x@example.com", "y@example.com", "z@example.com"]
    assert ledger()["b@gmail.com"] == ledger()["c@gmail.com"] == "claimed"
    assert query("SELECT state, attempts FROM jobs WHERE run_id = :r AND job_no = 1", r=run_id) == [("pending", 0)]
    assert row("b@gmail.com").attempts == 0


def test_a_slow_domain_holds_up_nobody_else_of_its_flight(server: ScriptedServer) -> None:
    """The same where several phases share a commit: those that were not sent are taken back."""
    recipients = [f"{who}@{domain}" for who in "abcdef" for domain in ("gmail.com", "example.com")]
    run_id = start(
        [{"email": address, "name": "n"} for address in recipients],
        domain_rates={"gmail.com": "1/min"},
        batch_size=20,
        max_in_flight=20,
    )
    work_off(CAMPAIGN, run_id)
    assert sorted(server.recipients()) == sorted(["a@gmail.com", *(f"{who}@example.com" for who in "abcdef")])
    assert sorted(ledger().values()) == ["claimed"] * 5 + ["sent"] * 7
    assert row("b@gmail.com").attempts == 0


def test_a_long_wait_is_cut_so_that_a_resume_is_heard(server: ScriptedServer) -> None:
    """A provider that is paused for a day: the job asks again within minutes."""

    run_id = start(people(1))
    _limiter().pause(provider_key("default"), 86_400, "quota")
    work_off(CAMPAIGN, run_id)
    assert query(
        "SELECT TIMESTAMPDIFF(SECOND, NOW(6), due_at) <= 300 FROM jobs WHERE run_id = :r AND job_no = 1", r=run_id
    ) == [(1,)]


def test_a_daily_quota_survives_a_flush_of_redis(server: ScriptedServer, empty_valkey: Servers) -> None:
    """What was sent today is read from the ledger."""
    run_id = start(people(5), rates=("3/day",))
    work_off(CAMPAIGN, run_id)
    assert len(server.taken) == 3
    flush_valkey(empty_valkey)
    for _ in range(3):
        let_out(run_id)
        work_off(CAMPAIGN, run_id)
    assert len(server.taken) == 3


def test_nothing_is_sent_while_redis_is_away_and_it_goes_on_by_itself(
    server: ScriptedServer, empty_valkey: Servers
) -> None:
    """Without the limiter nobody knows how much may go."""
    run_id = start(people(3), rates=("100/s",))
    empty_valkey.valkey.kill()
    run_jobs(CAMPAIGN, run_id, 1, "test")
    assert server.taken == []
    assert query("SELECT state, attempts FROM jobs WHERE run_id = :r AND job_no = 1", r=run_id) == [("pending", 0)]
    empty_valkey.valkey.start()
    # What Redis has lost is waited for once, a window of the limit.
    wait_until(lambda: ended(run_id).status is RunStatus.COMPLETED)
    assert len(server.taken) == 3


# -- connections --------------------------------------------------------------------------------------------------------


def test_one_connection_serves_many_jobs_and_is_renewed_after_so_many_messages(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reused across jobs; after `messages` of the provider's URL it is closed."""
    send(people(6), batch_size=2)
    assert server.connections == 1
    _connections.close_all()
    monkeypatch.setenv("EMAIL_PROVIDER_DEFAULT", server.url + "&messages=2")
    clients.reset()
    server.connections = 0
    send(people(6), name="second", batch_size=3)
    assert (server.connections, len(server.taken)) == (3, 12)


def test_a_kept_connection_that_the_server_closed_is_replaced_at_no_cost(server: ScriptedServer) -> None:
    """EOF where MAIL was said: one reconnect, no attempt, no wait."""
    server.script["MAIL", "news@sender.example.com"] = ["", DROP]
    run_id = start(people(3))
    work_off(CAMPAIGN, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert len(server.taken) == 3
    assert server.connections == 2
