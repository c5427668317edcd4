"""The campaign's message: compiled once, then filled for each recipient.

What all recipients share (the other header fields, the MIME structure, the attachments) is bytes before the first one is
filled; per recipient the templates are rendered, and only what came out of them is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from os import PathLike
from typing import Any, NamedTuple

from tasks.email.addresses import Address
from tasks.email.attachments import load_attachment
from tasks.email.bodies import Bodies
from tasks.email.errors import BadMessage, NoUnsubscribe
from tasks.email.headers import MAX_LINE_BYTES, date_field, mailbox_field, one_line, parse_mailbox, text_field
from tasks.email.mime import Frame, frame, text_part
from tasks.email.template import Template, environment_for
from tasks.email.unsubscribe import TEST_SCOPE, Unsubscriber, Unsubscription
from tasks.settings import settings

Json = Any
Roots = Sequence[str | PathLike[str]]

_ONE_CLICK = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"


class Rendered(NamedTuple):
    """One recipient's message, ready for DATA: CRLF line ends, lines of at most 998 bytes, not dot-stuffed."""

    data: bytes
    message_id: str
    subject: str
    smtputf8: bool
    """Whether a header needs SMTPUTF8 (an address whose local part is not ASCII)."""


class Message:
    """A compiled campaign message; `compile_message` makes one.  Keep it for a job or a process."""

    def __init__(
        self, pinned: Mapping[str, Json], campaign_id: str, unsubscriber: Unsubscriber | None, parts: Sequence[bytes]
    ) -> None:
        """``parts``: the attachments, in the order of ``pinned``."""
        self._campaign_id = campaign_id
        self._unsubscriber = unsubscriber
        self._scope = pinned["unsubscribe_scope"]
        given = frozenset(("email", "unsubscribe_url") if unsubscriber else ("email",))
        name, self.sender = parse_mailbox(pinned["sender"], "sender")
        self._subject = _line("subject", pinned["subject"], given)
        self._to_name = _line("to_name", pinned["to_name"], given) if pinned["to_name"] else None
        self._headers = [(header, _line(header, value, given)) for header, value in pinned["headers"].items()]
        self.bodies = Bodies(pinned, given)
        self._fixed = _fixed_fields(pinned, name, self.sender)
        self._frame = _frame(pinned, parts, self.bodies, campaign_id)
        self._smtputf8 = self.sender.smtputf8 or not self._fixed.isascii()

    def missing(self, address: Address, variables: Mapping[str, Json]) -> str | None:
        """What this recipient lacks or what fails with its variables, as a sentence; None if its message can be made.

        For the planning: cheap where the names of the variables tell, a rendering where only that can.
        """
        values = self._values(address, variables, "https://example.com/")
        lines = [self._subject, *([self._to_name] if self._to_name else []), *(line for _, line in self._headers)]
        for template in (*lines, *self.bodies.templates):
            problem = template.problem(values)
            if problem:
                return problem
        return None

    def render(self, address: Address, variables: Mapping[str, Json], *, at: datetime, test: bool = False) -> Rendered:
        """The message to one recipient, dated ``at`` (aware); the same bytes for the same arguments.

        ``test`` marks it: ``[TEST]`` before the subject, ``X-Test: yes``, and an unsubscribe link that unsubscribes nobody.
        Raises `BadMessage`.
        """
        url = self._url(address, test=test)
        values = self._values(address, variables, url)
        subject = one_line(("[TEST] " if test else "") + self._subject.render(values))
        message_id = self.message_id(address.identity, f"test {at.isoformat()}" if test else "")
        to_name = self._to_name.render(values) if self._to_name else ""
        fields = [
            date_field(at),
            f"Message-ID: {message_id}\r\n".encode(),
            self._fixed,
            mailbox_field("To", to_name, address),
            text_field("Subject", subject),
        ]
        fields += [text_field(name, template.render(values)) for name, template in self._headers]
        if url is not None:
            fields += [_unsubscribe_field(url), _ONE_CLICK]
        if test:
            fields.append(b"X-Test: yes\r\n")
        text, html = self.bodies.render(values)
        parts = [
            self._frame.before,
            text_part(text, "plain") if text is not None else b"",
            self._frame.between,
            text_part(html, "html") if html is not None else b"",
            self._frame.after,
        ]
        smtputf8 = self._smtputf8 or address.smtputf8
        return Rendered(b"".join([*fields, b"MIME-Version: 1.0\r\n", *parts]), message_id, subject, smtputf8)

    def values_of(self, address: Address, variables: Mapping[str, Json]) -> dict[str, Json]:
        """What the templates are filled with."""
        return self._values(address, variables, self._url(address, test=False))

    def message_id(self, identity: str, also: str = "") -> str:
        """The Message-ID of a recipient: the same however often its message is made, so that receivers can tell copies."""
        digest = sha256("\0".join((self._campaign_id, identity, also)).encode()).hexdigest()[:32]
        return f"<{digest}@{self.sender.domain}>"

    def _values(self, address: Address, variables: Mapping[str, Json], url: str | None) -> dict[str, Json]:
        values = {**variables, "email": address.normalised}
        if self._unsubscriber is not None:
            values["unsubscribe_url"] = url
        return values

    def _url(self, address: Address, *, test: bool) -> str | None:
        if self._unsubscriber is None:
            return None
        scope = TEST_SCOPE if test else self._scope
        return self._unsubscriber.url(Unsubscription(address.identity, scope, self._campaign_id))


def compile_message(
    pinned: Mapping[str, Json],
    *,
    campaign_id: str,
    unsubscriber: Unsubscriber | None,
    attachment_roots: Roots | None = None,
) -> Message:
    """The message of a campaign from what `pin_content` pinned.

    ``campaign_id``   what Message-IDs are made of, with the recipient's identity; it stands in unsubscribe tokens, too
    ``unsubscriber``  makes the links; needed if the content wants ``list_unsubscribe``, not used else
    ``attachment_roots``  by default those of the settings

    Raises `BadTemplate`, `BadContent`, `AttachmentChanged` or `NoUnsubscribe`: wrong for every recipient alike.
    """
    wanted = pinned["list_unsubscribe"]
    if wanted and unsubscriber is None:
        raise NoUnsubscribe(
            "list_unsubscribe needs EMAIL_UNSUBSCRIBE_KEYS and EMAIL_UNSUBSCRIBE_URL; set both, or start the campaign with "
            "list_unsubscribe=False if these messages are not for a list"
        )
    attachments = pinned["attachments"]
    roots: Roots = (
        settings().email_attachment_roots if attachments and attachment_roots is None else attachment_roots or ()
    )
    parts = [load_attachment(attachment, roots) for attachment in attachments]
    return Message(pinned, campaign_id, unsubscriber if wanted else None, parts)


def _line(name: str, source: str, given: frozenset[str]) -> Template:
    return Template(name, source, environment_for(html=False), given)


def _fixed_fields(pinned: Mapping[str, Json], name: str, sender: Address) -> bytes:
    fields = [mailbox_field("From", name, sender)]
    if pinned["reply_to"]:
        fields.append(mailbox_field("Reply-To", *parse_mailbox(pinned["reply_to"], "reply_to")))
    if pinned["list_id"]:
        fields.append(f"List-Id: {pinned['list_id']}\r\n".encode("ascii"))
    if pinned["feedback_id"]:
        fields.append(f"Feedback-ID: {pinned['feedback_id']}\r\n".encode("ascii"))
    # So that holiday notices stay away: list mail says that it is bulk, other mail that a machine sent it (RFC 3834, 5).
    fields.append(b"Precedence: bulk\r\n" if pinned["list_unsubscribe"] else b"Auto-Submitted: auto-generated\r\n")
    return b"".join(fields)


def _frame(pinned: Mapping[str, Json], parts: Sequence[bytes], bodies: Bodies, campaign_id: str) -> Frame:
    both = list(zip(pinned["attachments"], parts, strict=True))
    return frame(
        has_text=bodies.has_text,
        has_html=bodies.has_html,
        inline=[part for attachment, part in both if attachment["inline"]],
        attached=[part for attachment, part in both if not attachment["inline"]],
        seed=sha256(campaign_id.encode()).hexdigest()[:24],
    )


def _unsubscribe_field(url: str) -> bytes:
    field = f"List-Unsubscribe: <{url}>"
    if len(field) > MAX_LINE_BYTES:
        raise BadMessage(f"the unsubscribe link is {len(url)} characters long, more than a header line takes")
    return f"{field}\r\n".encode("ascii")
