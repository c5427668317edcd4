"""What a campaign says: its arguments, and the pinned form that every job compiles its message from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

Json = Any
Roots = Sequence[str | PathLike[str]]


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
    attachments: Sequence[str | Mapping[str, str]] = (),
) -> dict[str, Json]:
    """The content's arguments of a start as canonical JSON; given its own result, it returns it unchanged.

    ``template``     name under one of the template roots (``newsletter`` takes ``newsletter.html`` and, if there is one,
                     ``newsletter.txt``), or ``{"html": "…", "text": "…"}``, either one may be left out
    ``subject``      a template; ``to_name``, the display name of To, too; and the values of ``headers``
    ``attachments``  paths under one of the attachment roots, or ``{"path", "name", "type", "inline"}``

    Raises `tasks.errors.BadArguments`.
    """
    raise NotImplementedError


def pin_content(args: Mapping[str, Json], *, template_roots: Roots, attachment_roots: Roots) -> dict[str, Json]:
    """The content as JSON for the plan: the templates' sources and the attachments' hashes, so that one campaign is one text.

    Raises `BadTemplate` or `BadContent`.
    """
    raise NotImplementedError
