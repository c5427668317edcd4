"""Previews and test messages: a campaign's real messages, before anybody gets one.

They go the way of the campaign itself: its recipients, its pinned content, its compiled message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Engine

from tasks.email.addresses import parse_address
from tasks.email.answers import Action, Answer
from tasks.email.content import pin_content
from tasks.email.conversation import Conversation
from tasks.email.errors import BadMessage, BadRecipients, NoUnsubscribe
from tasks.email.message import Message, Rendered, compile_message
from tasks.email.providers import find_provider
from tasks.email.recipients import Recipient, describe_recipients, read_recipients
from tasks.email.unsubscribe import the_unsubscriber
from tasks.settings import settings

Json = Any

CLIPPED_BYTES = 102 * 1024
"""Gmail cuts the HTML of a message that is longer, its unsubscribe link with it."""
HEAVY_BYTES = 10 * 1024 * 1024
_SHEET = re.compile(r"<link\b[^>]*stylesheet", re.IGNORECASE)


class Preview(NamedTuple):
    """One recipient's message as it would be sent, None where it cannot be made; ``warnings`` say what to look at."""

    place: int
    address: str
    subject: str
    data: bytes | None
    warnings: list[str]


def preview(campaign: Mapping[str, Json], n: int = 3, *, engine: Engine | None = None) -> Iterator[Preview]:
    """The messages to the first ``n`` recipients of a campaign, refused ones and ones that lack a variable among them.

    ``campaign``  its arguments as `tasks.email.arguments.campaign_arguments` gives them
    ``engine``    where a query's recipients are asked

    Nothing is written and nothing is sent.  Raises `tasks.email.errors.EmailError` for what is wrong as a whole.
    """
    message, notes = _compile(campaign)
    for recipient in islice(_recipients(campaign, engine), n):
        yield _preview(message, recipient, notes)


def test_send(
    campaign: Mapping[str, Json],
    to: str,
    *,
    engine: Engine | None = None,  # noqa: PT028 - not one of pytest's
) -> tuple[Rendered, Answer]:
    """Send the first recipient's message to ``to`` instead, marked as a test; returns it with the server's answer.

    It is in no ledger, counts against no limit, and its unsubscribe link unsubscribes nobody.  Raises `BadAddress`,
    `BadMessage` or another `EmailError`; `tasks.email.conversation.NotConnected` where the server does not let us in.
    """
    address = parse_address(to)
    message, _ = _compile(campaign)
    first = next((found for found in _recipients(campaign, engine) if found.address is not None), None)
    if first is None:
        source = describe_recipients(campaign["recipients"])
        raise BadRecipients(source, "nobody in it can be sent to, so there are no variables to fill the test with")
    rendered = message.render(address, first.variables, at=datetime.now(UTC), test=True)
    conversation = Conversation(find_provider(campaign["provider"], settings().email_providers))
    try:
        sender, size = message.sender.normalised, len(rendered.data)
        answer = conversation.envelope(
            sender, address.normalised, size=size, eight_bit=rendered.smtputf8, smtputf8=rendered.smtputf8
        )
        if answer.action is Action.ACCEPT:
            answer = conversation.deliver(rendered.data)
    finally:
        conversation.quit()
    return rendered, answer


# pytest would take it for a test.
test_send.__test__ = False  # type: ignore[attr-defined]


def _compile(campaign: Mapping[str, Json]) -> tuple[Message, list[str]]:
    pinned = pin_content(
        campaign, template_roots=settings().email_template_roots, attachment_roots=settings().email_attachment_roots
    )
    unsubscriber = the_unsubscriber() if pinned["list_unsubscribe"] else None
    message = compile_message(pinned, campaign_id=campaign["name"], unsubscriber=unsubscriber)
    return message, list(_notes(message, pinned))


def _recipients(campaign: Mapping[str, Json], engine: Engine | None) -> Iterator[Recipient]:
    return read_recipients(campaign["recipients"], roots=settings().import_roots, engine=engine)


def _notes(message: Message, pinned: Mapping[str, Json]) -> Iterator[str]:
    """What there is to say about every message alike."""
    bodies, sources = message.bodies, "".join(pinned["sources"].values())
    if not pinned["text"]:
        yield "no text template: the text is made from the HTML"
    if not bodies.has_html:
        yield "no HTML template: text alone is sent"
    if pinned["list_unsubscribe"] and "unsubscribe_url" not in sources:
        yield "the text shows no unsubscribe link (unsubscribe_url); it is in the header alone"
    if bodies.inlines_each:
        yield "styles are inlined message by message, which is slower: a class, or what is included, depends on variables"
    if bodies.converts_each:
        yield "the text is made from the HTML message by message, which is slower: give a text template"
    if _SHEET.search(sources):
        yield "a <link> to a style sheet is left out; put the styles into a <style>"


def _preview(message: Message, recipient: Recipient, notes: list[str]) -> Preview:
    place, address = recipient.place, recipient.address
    if address is None:
        return Preview(place, recipient.given, "", None, [f"would not be sent to: {recipient.refused}"])
    try:
        rendered = message.render(address, recipient.variables, at=datetime.now(UTC))
    except (BadMessage, NoUnsubscribe) as error:
        return Preview(place, address.normalised, "", None, [f"would fail the planning: {error}"])
    warnings = list(notes)
    blank = sorted(name for name in message.bodies.names if recipient.variables.get(name) == "")
    if blank:
        warnings.append(f"empty: {', '.join(blank)}")
    if not rendered.subject:
        warnings.append("the subject is empty")
    if rendered.smtputf8:
        warnings.append("an address is not ASCII: it can be sent through servers with SMTPUTF8 only")
    if len(rendered.data) > HEAVY_BYTES:
        warnings.append(f"has {len(rendered.data)} bytes; many servers refuse so large a message")
    _, html = message.bodies.render(message.values_of(address, recipient.variables))
    if html is not None and len(html.encode()) > CLIPPED_BYTES:
        warnings.append(f"the HTML has {len(html.encode())} bytes; over {CLIPPED_BYTES} Gmail cuts its end off")
    return Preview(place, address.normalised, rendered.subject, rendered.data, warnings)
