"""What the tests of messages share: a campaign's content compiled in one call."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from tasks.email.addresses import parse_address
from tasks.email.content import content_arguments, pin_content
from tasks.email.message import Message, Rendered, compile_message
from tasks.email.unsubscribe import Unsubscriber

AT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
UNSUBSCRIBER = Unsubscriber("k1:0123456789abcdef0123456789abcdef", "https://example.com/unsubscribe/")


def compiled(
    html: str | None = None,
    text: str | None = None,
    *,
    template: str | None = None,
    roots: Sequence[Path] = (),
    subject: str = "Hello",
    sender: str = "News <news@example.com>",
    **others: Any,
) -> Message:
    """The message of an inline template, or of one under the roots; attachments lie there, too."""
    inline = {key: value for key, value in (("html", html), ("text", text)) if value is not None}
    args = content_arguments(template=template or inline, subject=subject, sender=sender, **others)
    assert content_arguments(**args) == args
    pinned = pin_content(args, template_roots=roots, attachment_roots=roots)
    return compile_message(pinned, campaign_id="winter", unsubscriber=UNSUBSCRIBER, attachment_roots=roots)


def rendered(message: Message, variables: Mapping[str, Any] | None = None, to: str = "anna@example.com") -> Rendered:
    """The message to one recipient."""
    return message.render(parse_address(to), variables or {}, at=AT)


def parsed(data: bytes) -> EmailMessage:
    """What Python's parser makes of it; it must have nothing to complain about."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert not part.defects, part.defects
        for name, value in part.items():
            assert not getattr(value, "defects", ()), (name, value, value.defects)
    return message


def mailbox(data: bytes, field: str) -> tuple[str, str]:
    """Display name and address of a field.

    By the older of Python's two parsers: the newer one keeps the blanks between the encoded words of a long name, which RFC
    2047, 6.2, has readers leave out.
    """
    raw = email.message_from_bytes(data)[field]
    name, address = parseaddr(re.sub(r"\r\n ", " ", raw))
    return str(make_header(decode_header(name))), address


def bodies(message: EmailMessage) -> tuple[str | None, str | None]:
    """Text and HTML as the parser decodes them."""
    found = [message.get_body([kind]) for kind in ("plain", "html")]
    text, html = (None if part is None else part.get_content() for part in found)
    return text, html
