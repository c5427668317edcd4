"""Messages: whatever the variables hold, the bytes are valid MIME that says just that."""

from __future__ import annotations

import html as html_module
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.email.addresses import parse_address
from tasks.email.attachments import MAX_TOTAL_BYTES
from tasks.email.content import content_arguments, pin_content
from tasks.email.errors import AttachmentChanged, BadContent, BadMessage, NoUnsubscribe
from tasks.email.headers import one_line
from tasks.email.message import compile_message
from tasks.errors import BadArguments
from tests.unit.email_content import AT, UNSUBSCRIBER, bodies, compiled, mailbox, parsed, rendered

pytestmark = pytest.mark.unit

BOTH = compiled(
    "<p>{{ x }}</p>",
    "{{ x }}",
    subject="{{ x }}",
    to_name="{{ x }}",
    headers={"X-Thing": "{{ x }}"},
    list_id="Our news <news.example.com>",
)
# Everything but half characters, for which there is a test of their own; awkward ones often.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.text(
    st.sampled_from('a.=?_ \t\r\n\0"\\<>(),:;@€ß🦆\u2028\x85Ff-'), max_size=400
)


def lines_of(text: str) -> str:
    """With CRLF line ends, and one at the end, as bodies are sent."""
    text = re.sub(r"\r\n|\r|\n", "\r\n", text)
    return text if text.endswith("\r\n") else text + "\r\n"


@settings(deadline=None)
@given(TEXTS)
@example(".\n..\n.x\nFrom me\n")
@example("x" * 5000)
@example("ß" * 5000)
@example("word " * 180)
@example("=?utf-8?q?x?= =?utf-8?b?eA==?=")
@example("ends in blanks  \n\t\n ")
@example("\r\nBcc: victim@example.com\r\n\r\nbody")
@example('é, "b" <c@d.e>')
@example("x" * 900)
@example("\x85\u2028\x1c")
def test_any_text_comes_back_from_the_parser(x: str) -> None:
    """Subject, names, headers, text and HTML hold the variable, whatever is in it, and nothing else."""
    shown = one_line(x)
    if len(shown) > 998:
        with pytest.raises(BadMessage, match="characters long"):
            rendered(BOTH, {"x": x})
        return
    found = rendered(BOTH, {"x": x})
    message = parsed(found.data)
    assert set(message.keys()) == {
        "Date", "Message-ID", "From", "List-Id", "Precedence", "To", "Subject", "X-Thing", "List-Unsubscribe",
        "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert message["Subject"] == found.subject == shown
    assert message["X-Thing"] == shown
    assert mailbox(found.data, "To") == (shown, "anna@example.com")
    text, html = bodies(message)
    assert text == lines_of(x)
    assert html == lines_of(
        f"<p>{html_module.escape(x, quote=True).replace('&quot;', '&#34;').replace('&#x27;', '&#39;')}</p>"
    )


@settings(deadline=None)
@given(TEXTS)
@example("x" * 2000)
@example("x " * 400)
@example("ß" * 990)
@example("x" * 990)
def test_lines_are_short_and_end_in_crlf(x: str) -> None:
    """RFC 5322: no bare CR or LF, no line over 998 bytes; RFC 2047: lines with encoded words at most 76; ASCII throughout."""
    if len(one_line(x)) > 998:
        return
    data = rendered(BOTH, {"x": x}).data
    lines = data.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert data.isascii() and b"\0" not in data and max(map(len, lines)) <= 998
    assert all(len(line) <= 76 for line in lines if b"=?utf-8?" in line)
    body = data.partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert max(map(len, body)) <= 78


@pytest.mark.parametrize("where", ["subject", "to_name", "text", "html", "headers"])
def test_half_characters_are_an_error_of_the_recipient(where: str) -> None:
    """A lone surrogate can be sent nowhere; it says so, instead of crashing the batch."""
    given: dict[str, Any] = {"text": "x", where: {"X-Y": "{{ x }}"} if where == "headers" else "{{ x }}"}
    with pytest.raises(BadMessage, match="half of a character"):
        rendered(compiled(**given), {"x": "a\ud800b"})


def test_the_same_recipient_gets_the_same_bytes() -> None:
    """Message-ID, boundary and link are made of campaign and address, so a second copy can be told for one."""
    first, again, other = (
        rendered(BOTH, {"x": "y"}, to) for to in ("Anna@example.com", "Anna@example.com", "b@example.com")
    )
    assert first == again
    assert first.message_id != other.message_id
    assert first.message_id == rendered(BOTH, {"x": "z"}, "anna@EXAMPLE.com").message_id
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", first.message_id)


def test_dates_are_in_utc_and_english() -> None:
    """RFC 5322's date, whatever the process' language or zone."""
    assert parsed(rendered(BOTH, {"x": ""}).data)["Date"] == "Tue, 03 Feb 2026 04:05:06 +0000"
    local = datetime.fromisoformat("2026-12-31T23:59:59-05:00")
    found = BOTH.render(parse_address("a@example.com"), {"x": ""}, at=local)
    assert parsed(found.data)["Date"].datetime == local.astimezone(UTC)


def test_lists_can_be_left_with_one_click() -> None:
    """RFC 8058: both headers, the link in the text too, and it opens to this recipient."""
    message = compiled("<a href='{{ unsubscribe_url }}'>leave</a>", list_id="news.example.com")
    found = parsed(rendered(message, to="Anna@example.com").data)
    link = found["List-Unsubscribe"].strip("<>")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (
        found["List-Id"] == "<news.example.com>" and found["Precedence"] == "bulk" and found["Auto-Submitted"] is None
    )
    text, html = bodies(found)
    assert text is not None and html is not None and link in text and link in html
    said = UNSUBSCRIBER.open(link.rsplit("/", 1)[1])
    assert said == ("anna@example.com", "list:news.example.com", "winter")


def test_other_mail_says_that_a_machine_sent_it() -> None:
    """Without list_unsubscribe there is no link, and RFC 3834's field keeps holiday notices away."""
    found = parsed(rendered(compiled(text="x", list_unsubscribe=False)).data)
    assert found["List-Unsubscribe"] is None and found["Precedence"] is None
    assert found["Auto-Submitted"] == "auto-generated"
    assert "unsubscribe_url" in str(compiled(text="{{ unsubscribe_url }}", list_unsubscribe=False).missing(
        parse_address("a@example.com"), {}
    ))  # fmt: skip


def test_links_need_keys() -> None:
    """A list's campaign without them fails as a whole, before anything is sent, and says what to set."""
    args = content_arguments(template={"text": "x"}, subject="x", sender="a@example.com")
    pinned = pin_content(args, template_roots=[], attachment_roots=[])
    with pytest.raises(NoUnsubscribe, match="EMAIL_UNSUBSCRIBE_KEYS"):
        compile_message(pinned, campaign_id="c", unsubscriber=None)


def test_test_messages_are_marked() -> None:
    """The mark is in the subject and in a field, and the link unsubscribes nobody."""
    found = BOTH.render(parse_address("anna@example.com"), {"x": "y"}, at=AT, test=True)
    message = parsed(found.data)
    assert message["Subject"] == "[TEST] y" and message["X-Test"] == "yes"
    assert UNSUBSCRIBER.open(message["List-Unsubscribe"].strip("<>").rsplit("/", 1)[1]).scope == "test"
    assert found.message_id != rendered(BOTH, {"x": "y"}).message_id


def test_addresses_that_are_not_ascii_are_written_as_they_are() -> None:
    """A local part that is not ASCII takes SMTPUTF8, and the sender is told so; an IDN does not."""
    found = rendered(BOTH, {"x": "y"}, "jürgen@müller.example")
    assert found.smtputf8 and "To: y <jürgen@xn--mller-kva.example>".encode() in found.data
    assert not rendered(BOTH, {"x": "y"}, "j@müller.example").smtputf8
    assert rendered(compiled(text="x", sender="jürgen@example.com")).smtputf8


@pytest.mark.parametrize(
    "sender, name, address",
    [
        ("news@Example.com", "", "news@example.com"),
        ("News <news@example.com>", "News", "news@example.com"),
        ('"News, daily" <news@example.com>', "News, daily", "news@example.com"),
        ("Grüße, täglich <news@müller.example>", "Grüße, täglich", "news@xn--mller-kva.example"),
        ("=?utf-8?q?x?= <news@example.com>", "=?utf-8?q?x?=", "news@example.com"),
        ("Ünï " * 60 + "<news@example.com>", ("Ünï " * 60).strip(), "news@example.com"),
    ],
)
def test_senders_come_back_from_the_parser(sender: str, name: str, address: str) -> None:
    """From and Reply-To hold the name, whatever is in it, and the checked address."""
    data = rendered(compiled(text="x", sender=sender, reply_to=sender)).data
    parsed(data)
    for field in ("From", "Reply-To"):
        assert mailbox(data, field) == (name, address)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sender": "nobody"}, {"sender": "a@example.com\r\nBcc: b@example.com"}, {"sender": "a@example.com, b@example.com"},
        {"sender": "N\ud800 <a@example.com>"},
        {"sender": "N\r\nBcc: b@example.com <a@example.com>"},
        {"sender": None}, {"reply_to": "x"}, {"subject": ""}, {"subject": "x" * 999},
        {"headers": {"Bcc": "x"}}, {"headers": {"X-A\r\nBcc": "x"}}, {"headers": {"Content-Type": "x"}}, {"headers": {"X": 1}},
        {"list_id": "x"}, {"list_id": "a <b.c>\r\nX: y <d.e>"}, {"feedback_id": "a b"}, {"unsubscribe_scope": "everything"},
        {"list_unsubscribe": 1}, {"template": {}}, {"template": {"pdf": "x"}}, {"template": ""}, {"attachments": "x.pdf"},
        {"attachments": [7]}, {"attachments": [{"path": "x", "name": "a/b"}]}, {"attachments": [{"path": "x", "type": "pdf"}]},
        {"attachments": [{"path": "x", "name": "a\r\nX: y"}]}, {"attachments": [{"path": "x", "inline": "a b"}]},
    ],
)  # fmt: skip
def test_content_that_no_message_can_carry_is_refused_at_the_start(wrong: dict[str, Any]) -> None:
    """Injection, other people's fields, half characters: the start raises, and nothing is recorded."""
    fine: dict[str, Any] = {"template": {"text": "x"}, "subject": "x", "sender": "a@example.com"}
    content_arguments(**fine)
    with pytest.raises(BadArguments):
        content_arguments(**{**fine, **wrong})


@pytest.mark.parametrize("text, html", [("t", None), (None, "<p>h</p>"), ("t", "<p>h</p>")])
@pytest.mark.parametrize("attached", [0, 1, 2])
@pytest.mark.parametrize("inline", [0, 1])
def test_every_structure_is_read_back(
    tmp_path: Path, text: str | None, html: str | None, attached: int, inline: int
) -> None:
    """Text, HTML, images within it and files beside it, in all combinations, are what the parser finds."""
    content = bytes(range(256)) * 9
    files = []
    for number in range(attached + inline):
        path = tmp_path / f"file {number}.bin"
        path.write_bytes(content + bytes([number]))
        files.append({"path": path, "name": f'größe "{number}".pdf', "inline": "logo" if number >= attached else None})
    if inline and html is None:
        with pytest.raises(BadContent, match="inline"):
            compiled(html, text, roots=[tmp_path], attachments=files)
        return
    message = parsed(rendered(compiled(html, text, roots=[tmp_path], attachments=files)).data)
    assert bodies(message) == (lines_of(text or "h"), None if html is None else lines_of(html))
    found = [part for part in message.walk() if part.get_filename()]
    assert [part.get_content() for part in found if part.get_content_disposition() == "attachment"] == [
        content + bytes([number]) for number in range(attached)
    ]
    assert [part["Content-ID"] for part in found if part.get_content_disposition() == "inline"] == ["<logo>"] * inline
    assert {part.get_filename() for part in found} == {f'größe "{number}".pdf' for number in range(attached + inline)}
    assert {part.get_content_type() for part in found} <= {"application/pdf"}


def test_a_changed_attachment_is_noticed(tmp_path: Path) -> None:
    """Half a campaign with another file would go unseen: the message is not made."""
    path = tmp_path / "prices.pdf"
    path.write_bytes(b"old")
    args = content_arguments(
        template={"text": "x"}, subject="x", sender="a@example.com", list_unsubscribe=False, attachments=[str(path)]
    )
    pinned = pin_content(args, template_roots=[], attachment_roots=[tmp_path])
    compile_message(pinned, campaign_id="c", unsubscriber=None, attachment_roots=[tmp_path])
    path.write_bytes(b"new")
    with pytest.raises(AttachmentChanged, match=r"prices\.pdf"):
        compile_message(pinned, campaign_id="c", unsubscriber=None, attachment_roots=[tmp_path])


def test_attachments_stay_under_their_roots_and_their_size(tmp_path: Path) -> None:
    """A path elsewhere, a link that leads elsewhere, a directory, or more than fits is refused by name."""
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "link").symlink_to(tmp_path / "secret")
    half = inside / "half"
    half.write_bytes(b"x" * (MAX_TOTAL_BYTES // 2 + 1))
    for paths in ([tmp_path / "secret"], [inside / "link"], [inside], [inside / "none"], [half, half]):
        with pytest.raises(BadContent, match=re.escape(str(paths[0]))):
            compiled(text="x", roots=[inside], attachments=paths)
    with pytest.raises(BadContent, match="EMAIL_ATTACHMENT_ROOTS"):
        compiled(text="x", roots=[inside], attachments=[tmp_path / "secret"])
