"""What a campaign says: its arguments, and the pinned form that every job compiles its message from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from tasks.email.attachments import attachment_argument, pin_attachments
from tasks.email.errors import BadContent
from tasks.email.headers import MAX_VALUE_CHARS, check_name, encoded_words, one_line, parse_mailbox
from tasks.email.sources import find_sources
from tasks.email.suppressions import GLOBAL, checked_scope
from tasks.errors import BadArguments

Json = Any
Roots = Sequence[str | PathLike[str]]

_LIST_ID = re.compile(r"(?P<name>[^<>]*)<(?P<id>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+)>\Z")
_FEEDBACK_ID = re.compile(r"[!-~]{1,127}\Z")


def content_arguments(
    *,
    template: str | Mapping[str, str],
    subject: str,
    sender: str,
    reply_to: str | None = None,
    to_name: str | None = None,
    list_unsubscribe: bool = True,
    unsubscribe_scope: str | None = None,
    list_id: str | None = None,
    feedback_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    attachments: Sequence[str | Mapping[str, Json]] = (),
) -> dict[str, Json]:
    """The content's arguments of a start as canonical JSON; given its own result, it returns it unchanged.

    ``template``           name under one of the template roots (``newsletter`` takes ``newsletter.html`` and, if there is one,
                           ``newsletter.txt``), or ``{"html": "…", "text": "…"}``, either one may be left out
    ``subject``            a template; so are ``to_name``, the display name of To, and the values of ``headers``
    ``sender``             ``Name <address>`` of From; ``reply_to`` likewise
    ``list_unsubscribe``   RFC 8058's headers, and ``unsubscribe_url`` for the templates; without it the messages count as
                           answers to something, not as a list's
    ``unsubscribe_scope``  what an unsubscription stops: ``global``, ``list:NAME`` or ``campaign:NAME``; by default ``list:``
                           and the ``list_id``, where there is one, else everything
    ``list_id``            ``news.example.com`` or ``Our news <news.example.com>`` (RFC 2919)
    ``feedback_id``        for the providers' complaint reports, as it is
    ``attachments``        paths under one of the attachment roots, or ``{"path", "name", "type", "inline"}``

    Raises `tasks.errors.BadArguments`.
    """
    try:
        list_field = _list_id(list_id)
        scope = unsubscribe_scope or (f"list:{_id_of(list_field)}" if list_field else GLOBAL)
        parse_mailbox(_text("sender", sender), "sender")
        if reply_to:
            parse_mailbox(_text("reply_to", reply_to), "reply_to")
        return {
            "template": _template(template),
            "subject": _subject(subject),
            "sender": one_line(sender),
            "reply_to": one_line(reply_to) if reply_to else None,
            "to_name": _text("to_name", to_name) if to_name else None,
            "list_unsubscribe": _flag("list_unsubscribe", list_unsubscribe),
            "unsubscribe_scope": checked_scope(scope),
            "list_id": list_field,
            "feedback_id": _feedback_id(feedback_id),
            "headers": {check_name(name): _text(name, value) for name, value in dict(headers or {}).items()},
            "attachments": [attachment_argument(attachment) for attachment in _list(attachments)],
        }
    except (BadContent, ValueError, TypeError) as error:
        raise BadArguments(str(error)) from None


def pin_content(args: Mapping[str, Json], *, template_roots: Roots, attachment_roots: Roots) -> dict[str, Json]:
    """The content as JSON for the plan: the templates' sources and the attachments' hashes, so that one campaign is one text.

    Raises `BadTemplate` or `BadContent`.
    """
    sources, html, text = find_sources(args["template"], template_roots)
    attachments = pin_attachments(args["attachments"], attachment_roots)
    if html is None and any(attachment["inline"] for attachment in attachments):
        raise BadContent("attachments: inline images need an HTML template that shows them; leave inline out")
    kept = (
        "subject",
        "sender",
        "reply_to",
        "to_name",
        "list_unsubscribe",
        "unsubscribe_scope",
        "list_id",
        "feedback_id",
    )
    return {
        **{name: args[name] for name in (*kept, "headers")},
        "sources": sources,
        "html": html,
        "text": text,
        "attachments": attachments,
    }


def _template(given: Any) -> str | dict[str, str]:
    if isinstance(given, str) and given:
        return given
    if isinstance(given, Mapping) and given and set(given) <= {"html", "text"}:
        parts = {key: given[key] for key in ("html", "text") if given.get(key)}
        if parts and all(isinstance(part, str) for part in parts.values()):
            return parts
    raise BadContent(f"template={str(given)[:100]!r}: give the name of a template, or {{'html': '…', 'text': '…'}}")


def _subject(given: Any) -> str:
    subject = one_line(_text("subject", given))
    if not subject or len(subject) > MAX_VALUE_CHARS:
        raise BadContent(f"subject: give a template in one line, with 1 to {MAX_VALUE_CHARS} characters")
    return subject


def _text(name: str, given: Any) -> str:
    if not isinstance(given, str):
        raise BadContent(f"{name}={given!r}: give a text")
    return given


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise BadContent(f"{name}={given!r}: give True or False")
    return given


def _feedback_id(given: Any) -> str | None:
    if given and not (isinstance(given, str) and _FEEDBACK_ID.match(given)):
        raise BadContent(f"feedback_id={given!r}: give printable ASCII without blanks, at most 127 characters")
    return given or None


def _list(given: Any) -> list[Any]:
    if isinstance(given, str | bytes | Mapping):
        raise BadContent(f"attachments={given!r}: give a list")
    return list(given or ())


def _list_id(given: Any) -> str | None:
    """List-Id's value; a name that is not ASCII as encoded words."""
    if not given:
        return None
    text = one_line(_text("list_id", given))
    match = _LIST_ID.match(text if "<" in text else f"<{text}>")
    if not match or len(text) > 200:
        raise BadContent(f"list_id={given!r}: give news.example.com, or 'Our news <news.example.com>' (RFC 2919)")
    name = match["name"].strip()
    if name and not (name.isascii() and re.match(r'[\w !#$%&\'*+/=?^`{|}~"-]+\Z', name)):
        name = encoded_words(name, "list_id", len("List-Id: ")).replace("\r\n ", " ")
    return f"{name} <{match['id']}>".strip()


def _id_of(list_field: str) -> str:
    return list_field[list_field.rindex("<") + 1 : -1]
