"""The newsletter example, from its subscribers to its unsubscribe page, against a real mail server on loopback."""

from __future__ import annotations

import io
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from examples.newsletter import campaign
from examples.newsletter.unsubscribe_page import app
from runstate.statuses import RunStatus
from tasks import clients
from tasks.email.arguments import campaign_arguments
from tasks.email.conversation import NotConnected
from tasks.email.errors import BadRecipients
from tasks.email.kind import CAMPAIGN
from tasks.email.preview import preview, test_send
from tests.email_server import ScriptedServer
from tests.integration.email_campaigns import ended, ledger, server
from tests.integration.machinery import planned, query, run_of
from tests.integration.ops_command import Ops
from tests.unit.email_content import bodies, parsed

__all__ = ["server"]
ACTOR = ["--actor", "ann", "--reason", "seen"]


@pytest.fixture(autouse=True)
def settings(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker of the example has in its environment."""
    monkeypatch.setenv("IMPORT_ROOTS", str(campaign.HERE))
    monkeypatch.setenv("EMAIL_TEMPLATE_ROOTS", str(campaign.HERE / "templates"))
    monkeypatch.setenv("EMAIL_ATTACHMENT_ROOTS", str(campaign.HERE / "templates"))
    monkeypatch.setenv("EMAIL_UNSUBSCRIBE_KEYS", "k1:" + "0123456789abcdef" * 2)
    monkeypatch.setenv("EMAIL_UNSUBSCRIBE_URL", "https://example.com/unsubscribe/")
    clients.reset()
    yield
    clients.reset()


def sent(name: str, **options: Any) -> None:
    run_id = planned(CAMPAIGN, **{**campaign.arguments(name), "rates": None, **options})
    run = ended(run_id)
    assert run.status is RunStatus.COMPLETED, run.reason


def messages(server: ScriptedServer) -> dict[str, EmailMessage]:
    return {taken.recipient: parsed(taken.data) for taken in server.taken}


def request(method: str, link: str, body: bytes = b"") -> tuple[str, str]:
    """What the page answers."""
    answered: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": link.removeprefix("https://example.com"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    text = b"".join(app(environ, lambda status, headers: answered.append(status))).decode()
    return answered[0], text


def test_everybody_gets_one_message_and_the_bad_address_is_told_of(server: ScriptedServer) -> None:
    """Two spellings of an address are one recipient; the ledger has the one that cannot be sent to."""
    sent("autumn")
    assert sorted(server.recipients()) == [
        "Ben@example.com", "anna@example.com", "cem@example.com", "dora@xn--bcher-kva.example",
    ]  # fmt: skip
    assert sorted(ledger("autumn").values()) == ["failed", "sent", "sent", "sent", "sent"]
    sent("autumn")
    assert len(server.taken) == 4


def test_starting_it_records_a_run() -> None:
    """The command's only step: a run of the campaign, which whoever plans it can read."""
    run = run_of(campaign.start("autumn"))
    assert (run.status, run.admission_key) == (RunStatus.REQUESTED, "autumn")


def test_the_messages_are_what_the_templates_say(server: ScriptedServer) -> None:
    """Styled HTML with its logo, text made from it, the name in To, the headers of a list."""
    sent("autumn")
    message = messages(server)["cem@example.com"]
    text, html = bodies(message)
    assert message["Subject"] == 'Your Hammer is back, Cem "the hammer" Öz'
    assert message["To"].addresses[0].display_name == 'Cem "the hammer" Öz'
    assert text is not None and "autumn has come to İzmir" in text and "Teapot 24.90 €\r\nHammer 18.00 €" in text
    assert html is not None and "border-bottom: 1px solid #e0dcd4" in html and "Cem &#34;the hammer&#34; Öz" in html
    (logo,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert logo["Content-ID"] == "<logo>"
    assert logo.get_content() == (campaign.HERE / "templates" / "logo.png").read_bytes()
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_opening_a_link_changes_nothing_and_one_click_unsubscribes(server: ScriptedServer) -> None:
    """A scanner's GET is harmless, a mail client's POST counts, and the next campaign of the list leaves the address out."""
    sent("autumn")
    link = messages(server)["anna@example.com"]["List-Unsubscribe"].strip("<>")
    status, text = request("GET", link)
    assert status == "200 OK" and "<form method='post'>" in text
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]
    for _ in range(2):
        assert request("POST", link, b"List-Unsubscribe=One-Click")[0] == "200 OK"
    assert query("SELECT address, scope FROM email_suppressions") == [("anna@example.com", "list:news.example.com")]
    server.taken.clear()
    sent("winter")
    assert "anna@example.com" not in server.recipients() and len(server.taken) == 3
    assert ledger("winter")["anna@example.com"] == "suppressed"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_links_are_answered_alike(method: str) -> None:
    """Whoever guesses learns nothing."""
    answers = {request(method, f"https://example.com/u/{token}") for token in ("k1.AAAA", "k9.AAAA")}
    assert {status for status, _ in answers} == {"404 Not Found"}
    assert request("DELETE", "https://example.com/u/x")[0] == "405 Method Not Allowed"


def test_a_preview_is_the_campaigns_own_message(server: ScriptedServer) -> None:
    """Real MIME for the first recipients, those that would be refused among them; nothing is sent or written."""
    found = list(preview(campaign_arguments(**campaign.arguments("autumn")), 6))
    assert [one.data is not None for one in found] == [True, True, True, True, True, False]
    assert "would not be sent to" in found[5].warnings[0]
    assert found[0].data is not None and parsed(found[0].data)["Subject"] == found[0].subject
    assert any("made from the HTML" in warning for warning in found[0].warnings)
    assert server.taken == [] and query("SELECT COUNT(*) FROM email_recipients") == [(0,)]


def test_a_preview_tells_what_would_stop_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing variable with its line, blank ones, a text too long for Gmail."""
    monkeypatch.setenv("IMPORT_ROOTS", str(tmp_path))
    clients.reset()
    path = tmp_path / "list.csv"
    path.write_text("email,name\na@example.com,\n")
    html = "<link rel='stylesheet' href='x.css'><p>{{ name }}</p>" + "x" * 110_000
    others: dict[str, Any] = {"name": "c", "recipients": str(path), "sender": "a@example.com", "subject": "x"}
    (one,) = preview(campaign_arguments(template={"html": html}, **others))
    assert [word for word in ("empty: name", "Gmail", "unsubscribe link", "<link>") if word in "\n".join(one.warnings)] == [
        "empty: name", "Gmail", "unsubscribe link", "<link>",
    ]  # fmt: skip
    (one,) = preview(campaign_arguments(template={"text": "{{ city }}"}, **others))
    assert one.data is None and one.place == 2 and "'city' is undefined" in one.warnings[0]


def test_a_test_message_is_marked_and_in_no_ledger(server: ScriptedServer) -> None:
    """It is the first recipient's message, to another address, and its link unsubscribes nobody."""
    rendered, answer = test_send(campaign_arguments(**campaign.arguments("autumn")), "me@example.org")
    assert answer.code == 250
    (message,) = messages(server).values()
    assert server.recipients() == ["me@example.org"]
    assert message["Subject"] == rendered.subject == "[TEST] Your Teapot is back, Anna" and message["X-Test"] == "yes"
    request("POST", message["List-Unsubscribe"].strip("<>"))
    assert query("SELECT COUNT(*) FROM email_suppressions") == [(0,)]
    assert query("SELECT COUNT(*) FROM email_recipients") == [(0,)]


def test_a_test_message_needs_somebody_and_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the way is said."""
    args = campaign_arguments(**{**campaign.arguments("autumn"), "recipients": ["nobody"]})
    with pytest.raises(BadRecipients, match="nobody in it"):
        test_send(args, "me@example.org")
    monkeypatch.setenv("EMAIL_PROVIDER_DEFAULT", "smtp://127.0.0.1:1?starttls=never")
    clients.reset()
    with pytest.raises(NotConnected):
        test_send(campaign_arguments(**campaign.arguments("autumn")), "me@example.org")


class TestOps:
    """``ops email preview`` and ``ops email test-send``."""

    FILE = str(campaign.HERE / "campaign.toml")

    @pytest.fixture
    def ops(self, capsys: pytest.CaptureFixture[str]) -> Ops:
        """Runs commands in this process."""
        return Ops(capsys)

    @pytest.fixture(autouse=True)
    def here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Paths in the file are taken from here."""
        monkeypatch.chdir(campaign.HERE.parent.parent)

    def test_preview_writes_messages(self, ops: Ops, tmp_path: Path) -> None:
        """One .eml file a recipient; exit 1 if one of them cannot be made."""
        found = ops("email", "preview", "--json", "--file", self.FILE, "--count", "2", "--out", str(tmp_path / "out"))
        assert found.code == 0, found.err
        subjects = [parsed(Path(one["file"]).read_bytes())["Subject"] for one in found.document]
        assert subjects == ["Your Teapot is back, Anna", "Your Rubber duck 🦆 is back, Ben"]
        found = ops("email", "preview", "--file", self.FILE, "--count", "9")
        assert found.code == 1 and "would not be sent to" in found.out and "| Subject: " in found.out

    def test_preview_of_a_campaign_that_was_started(self, ops: Ops, server: ScriptedServer) -> None:
        """By its name, with the arguments of its last run; one that never was is not found."""
        sent("autumn")
        assert "Your Teapot is back, Anna" in ops("email", "preview", "autumn", "--count", "1").out
        assert ops("email", "preview", "spring").code == 3

    def test_test_send_sends_one_and_is_audited(self, ops: Ops, server: ScriptedServer) -> None:
        """With a reason, to one address; a dry run sends nothing."""
        assert ops("email", "test-send", "--file", self.FILE, "--to", "me@example.org", "--dry-run").code == 0
        assert ops("email", "test-send", "--file", self.FILE, "--to", "me@example.org").code == 2
        assert server.taken == []
        found = ops("email", "test-send", "--file", self.FILE, "--to", "me@example.org", *ACTOR)
        assert found.code == 0 and server.recipients() == ["me@example.org"]
        assert query("SELECT actor, action, subject FROM audit_log") == [("ann", "test_send", "campaign autumn-2026")]
        server.always["RCPT"] = "550 5.1.1 unknown"
        assert ops("email", "test-send", "--file", self.FILE, "--to", "me@example.org", *ACTOR).code == 1

    @pytest.mark.parametrize("text", ["", "name = 'x'", "[[", "name = 7\ntemplate = 'x'\nsubject = 'y'\nnosuch = 1"])
    def test_a_file_that_is_wrong_is_a_usage_error(self, ops: Ops, tmp_path: Path, text: str) -> None:
        """It says what is missing or unknown, without a traceback."""
        path = tmp_path / "campaign.toml"
        path.write_text(text)
        found = ops("email", "preview", "--file", str(path))
        assert found.code == 2 and found.err.startswith("ops: ")
