"""Conversations with real mail servers on loopback: TLS, logging in, time-outs, kept connections, lost ones."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from runstate.statuses import RunStatus
from stack.debian import smtp_sink_program, smtp_sink_user
from tasks import clients
from tasks.email.answers import Action, Answer
from tasks.email.connections import Connections
from tasks.email.conversation import Conversation, NotConnected, Stale, queue_id
from tasks.email.kind import _connections
from tasks.email.providers import Provider, parse_provider
from tests.certificates import make_certificate, server_context
from tests.email_server import DROP, TAKE_AND_DROP, ScriptedServer, free_port, scripted_server
from tests.integration.email_campaigns import ledger, people, send, server, start
from tests.integration.machinery import query, run_of, work_off
from tests.waiting import wait_until

__all__ = ["server"]

BODY = b"Subject: x\r\n\r\nHello\r\n"


def provider(running: ScriptedServer, **options: Any) -> Provider:
    return Provider("test", "127.0.0.1", running.port, **({"starttls": "never"} | options))


def say(conversation: Conversation, data: bytes = BODY, to: str = "ann@example.com") -> Answer:
    answer = conversation.envelope("n@sender.example.com", to, size=len(data), eight_bit=False, smtputf8=False)
    return conversation.deliver(data) if answer.action is Action.ACCEPT else answer


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path / "server")


def log_in(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ann", b"correct horse")
    return AuthResult(success=good, handled=False)


def test_starttls_and_a_login_are_used(certificate: tuple[Path, Path]) -> None:
    """Certificate and name are checked against the given authority; the password goes over TLS alone."""
    options = {"tls_context": server_context(*certificate), "authenticator": log_in, "auth_required": True}
    with scripted_server(**options) as running:
        url = f"smtp://ann:correct%20horse@127.0.0.1:{running.port}?ca={certificate[0]}"
        conversation = Conversation(parse_provider("main", url))
        assert say(conversation).action is Action.ACCEPT
        conversation.quit()
    assert running.recipients() == ["ann@example.com"]


def test_a_wrong_password_stops_and_is_not_repeated(certificate: tuple[Path, Path]) -> None:
    """535: the operator's to mend; what is said of it does not hold the password."""
    options = {"tls_context": server_context(*certificate), "authenticator": log_in, "auth_required": True}
    with scripted_server(**options) as running:
        wrong = provider(running, starttls="require", ca=str(certificate[0]), user="ann", password="hunter2hunter2")
        with pytest.raises(NotConnected) as raised:
            Conversation(wrong)
    assert raised.value.answer.action is Action.STOP
    assert "hunter2" not in str(raised.value)


def test_a_certificate_that_nobody_signed_stops(certificate: tuple[Path, Path]) -> None:
    """It may be somebody else's server, and waiting does not help."""
    with scripted_server(tls_context=server_context(*certificate)) as running, pytest.raises(NotConnected) as raised:
        Conversation(provider(running, starttls="require"))
    assert raised.value.answer.action is Action.STOP
    assert "certificate" in raised.value.answer.text


def test_a_certificate_for_another_name_stops(tmp_path: Path) -> None:
    """Signed by the right authority, for another host."""
    cert, key = make_certificate(tmp_path / "other", "mail.example.com")
    with scripted_server(tls_context=server_context(cert, key)) as running, pytest.raises(NotConnected) as raised:
        Conversation(provider(running, starttls="require", ca=str(cert)))
    assert raised.value.answer.action is Action.STOP


def test_no_starttls_no_password() -> None:
    """Whoever cut the offer out of the greeting learns nothing."""
    with scripted_server() as running, pytest.raises(NotConnected, match="offers no STARTTLS") as raised:
        Conversation(provider(running, starttls="require", user="ann", password="hunter2"))
    assert raised.value.answer.action is Action.STOP
    assert running.asked == []


def test_tls_from_the_first_byte_with_a_certificate_of_our_own(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """smtps, and a server that asks for the client's certificate; without one nothing is sent."""
    cert, key = make_certificate(tmp_path / "client", "client.example.com")
    context = server_context(*certificate, clients_by=cert)
    with _implicit_tls(context) as port:
        url = f"smtps://127.0.0.1:{port}?ca={certificate[0]}&connect_timeout=3"
        conversation = Conversation(parse_provider("main", f"{url}&cert={cert}&key={key}"))
        assert conversation.open
        conversation.quit()
        with pytest.raises(NotConnected):
            Conversation(parse_provider("main", url))


@contextmanager
def _implicit_tls(context: Any) -> Iterator[int]:
    """A server that greets over TLS and answers everything with 250."""
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) as secure:
                    secure.sendall(b"220 hello\r\n")
                    while secure.recv(1000):
                        secure.sendall(b"250 fine\r\n")
            except OSError:
                if listener.fileno() < 0:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # Closing alone does not wake accept().
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_a_server_that_never_greets_is_given_up_in_time() -> None:
    """Every time-out is set."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(NotConnected) as raised:
            Conversation(Provider("test", "127.0.0.1", silent.getsockname()[1], starttls="never", connect_timeout=0.3))
    assert raised.value.answer.action is Action.WAIT
    assert time.monotonic() - began < 3


def test_a_server_that_does_not_answer_the_dot_leaves_the_message_in_doubt() -> None:
    """The time-out of the last answer is its own."""
    with scripted_server() as running:
        running.slow_s = 1
        conversation = Conversation(provider(running, data_timeout=0.2))
        assert say(conversation).action is Action.IN_DOUBT
        assert not conversation.open


def test_nobody_there_is_a_wait() -> None:
    """Connection refused: later, by itself."""
    with pytest.raises(NotConnected) as raised:
        Conversation(Provider("test", "127.0.0.1", free_port(), starttls="never"))
    assert raised.value.answer.action is Action.WAIT


@pytest.mark.parametrize(
    "data", [BODY, b".\r\n..\r\n.x\r\n", b"no line end", b"a\r\n.\r\nb\r\n", b"Subject: x\r\n\r\n.hidden\r\n"]
)
def test_every_byte_arrives_dots_and_all(data: bytes) -> None:
    """Dots at the beginning of a line are stuffed, a missing last line end is made."""
    with scripted_server() as running:
        conversation = Conversation(provider(running))
        assert say(conversation, data).action is Action.ACCEPT
        assert say(conversation).action is Action.ACCEPT
        conversation.quit()
    assert running.taken[0].data == (data if data.endswith(b"\r\n") else data + b"\r\n")
    assert len(running.taken) == 2


def test_a_connection_lost_after_the_message_is_in_doubt_and_before_it_is_not() -> None:
    """The stage tells."""
    with scripted_server() as running:
        running.script["DATA", "ann@example.com"] = [TAKE_AND_DROP]
        running.script["RCPT", "bob@example.com"] = [DROP]
        assert say(Conversation(provider(running))).action is Action.IN_DOUBT
        assert say(Conversation(provider(running)), to="bob@example.com").action is Action.WAIT


def test_a_kept_connection_that_is_gone_says_so_before_anything_is_lost() -> None:
    """421 and EOF at MAIL, on a connection that has served before."""
    for answer in ("421 4.4.2 idle for too long", DROP):
        with scripted_server() as running:
            running.script["MAIL", "n@sender.example.com"] = ["", answer]
            conversation = Conversation(provider(running))
            assert say(conversation).action is Action.ACCEPT
            with pytest.raises(Stale):
                say(conversation)


def test_an_address_that_is_not_ascii_needs_a_server_that_takes_it() -> None:
    """SMTPUTF8 or nothing; nothing is said to a server without it."""
    with scripted_server(enable_SMTPUTF8=False) as running:
        conversation = Conversation(provider(running))
        answer = conversation.envelope("n@example.com", "jürgen@example.com", size=1, eight_bit=True, smtputf8=True)
        assert (answer.action, answer.enhanced) == (Action.FAIL, "5.6.7")
        assert running.asked == []
    with scripted_server(enable_SMTPUTF8=True) as running:
        conversation = Conversation(provider(running))
        answer = conversation.envelope("n@example.com", "jürgen@example.com", size=1, eight_bit=True, smtputf8=True)
        assert answer.action is Action.ACCEPT


@pytest.mark.parametrize("address", ["a@b\r\nRCPT TO:<x@y>", "a b@c", "a>@b", "<a@b"])
def test_no_address_can_say_a_command_of_its_own(address: str) -> None:
    """Whatever came into the ledger."""
    with scripted_server() as running:
        conversation = Conversation(provider(running))
        with pytest.raises(ValueError, match="address"):
            conversation.envelope("n@example.com", address, size=1, eight_bit=False, smtputf8=False)


def test_an_idle_connection_is_closed_by_itself() -> None:
    """Nobody has to come by."""
    connections = Connections()
    with scripted_server() as running:
        kept = provider(running, idle=0.1)
        with connections.use(kept) as held:
            assert say(held.get()).action is Action.ACCEPT
            conversation = held.current
        assert conversation.open
        wait_until(lambda: not conversation.open)
        assert connections.take(kept) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.0.0 Ok: queued as 4F1C2", "4F1C2"),
        ("2.0.0 OK id=1abcDE-0000", "1abcDE-0000"),
        ("Ok 0102018f3e-abcdef12-000000", "0102018f3e-abcdef12-000000"),
        ("2.0.0 Ok", None),
        ("fine", None),
    ],
)
def test_the_server_s_queue_id_is_kept(text: str, expected: str | None) -> None:
    """For whoever asks the provider what became of it."""
    assert queue_id(text) == expected


# -- smtp-sink ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sink(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Start ``smtp-sink`` as the provider; its port."""
    started = []

    def start_sink(*options: str) -> int:
        program, port = smtp_sink_program(), free_port()
        command = [str(program.path), *smtp_sink_user(), *options, f"127.0.0.1:{port}", "10"]
        started.append(subprocess.Popen(command, env=program.environment(), stdout=subprocess.DEVNULL))
        wait_until(lambda: _listens(port))
        monkeypatch.setenv("EMAIL_PROVIDER_DEFAULT", f"smtp://127.0.0.1:{port}?starttls=never&pause=1")
        clients.reset()
        return port

    yield start_sink
    _connections.close_all()
    for process in started:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_sink_that_hangs_up_behind_the_dot_has_one_copy_of_what_is_in_doubt(
    sink: Callable[..., int], tmp_path: Path
) -> None:
    """Postfix' smtp-sink takes the message and never says so: in doubt, exactly one copy, another run adds none."""
    messages = tmp_path / "messages"
    messages.mkdir()
    sink("-q", ".", "-d", f"{messages}/m.")
    for _ in range(2):
        assert send(people(3), retry_s=1).status is RunStatus.COMPLETED
    assert set(ledger().values()) == {"in_doubt"}
    stored = [path.read_text() for path in messages.iterdir()]
    for n in range(3):
        assert sum(f"For P{n}" in text for text in stored) == 1


def test_a_sink_that_bounces_every_recipient_pipelined(sink: Callable[..., int]) -> None:
    """MAIL and RCPT go out together, and every answer finds its command."""
    sink("-f", "RCPT", "-B", "550 5.1.1 no such user")
    assert send(people(5)).status is RunStatus.COMPLETED
    assert set(ledger().values()) == {"failed"}
    assert query("SELECT COUNT(*) FROM email_suppressions WHERE reason = 'bounce'") == [(5,)]


def test_a_sink_that_greylists_defers_everybody(sink: Callable[..., int]) -> None:
    """Deferred with the answer, in a later job."""
    sink("-r", "RCPT", "-b", "451 4.7.1 greylisted")
    run_id = start(people(3), retry_s=3600)
    work_off_once(run_id)
    assert set(ledger().values()) == {"deferred"}
    assert query("SELECT DISTINCT code, enhanced, attempts FROM email_recipients") == [(451, "4.7.1", 1)]
    assert run_of(run_id).status is RunStatus.RUNNING


def work_off_once(run_id: str) -> None:
    from tasks.email.kind import CAMPAIGN

    work_off(CAMPAIGN, run_id)
