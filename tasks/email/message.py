"""The campaign's message: compiled once, then filled for each recipient."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tasks.email.addresses import Address
from tasks.email.unsubscribe import Unsubscriber

Json = Any


class Rendered(NamedTuple):
    """One recipient's message, ready for DATA: CRLF line ends, lines of at most 998 bytes, not dot-stuffed."""

    data: bytes
    message_id: str
    subject: str
    smtputf8: bool
    """Whether a header needs SMTPUTF8 (an address whose local part is not ASCII)."""


class Message:
    """A compiled campaign message; cheap to keep, safe to use from one thread."""

    sender: Address
    """The address of From, for the envelope."""

    def missing(self, address: Address, variables: Mapping[str, Json]) -> str | None:
        """What this recipient lacks or what fails with its variables, as a sentence; None if its message can be made.

        For the planning: cheap where the names of the variables tell, a rendering where only that can.
        """
        raise NotImplementedError

    def render(self, address: Address, variables: Mapping[str, Json], *, at: datetime, test: bool = False) -> Rendered:
        """The message to one recipient, dated ``at`` (aware); the same bytes for the same arguments.

        ``test`` marks it: ``[TEST]`` before the subject, ``X-Test: yes``, and an unsubscribe link that unsubscribes nobody.
        Raises `BadMessage`.
        """
        raise NotImplementedError


def compile_message(pinned: Mapping[str, Json], *, campaign_id: str, unsubscriber: Unsubscriber | None) -> Message:
    """The message of a campaign from what `pin_content` pinned; keep it for all recipients of a job, or of a process.

    ``campaign_id``   what Message-IDs are made of, with the recipient's identity: the run id
    ``unsubscriber``  makes the links; needed if the content wants ``list_unsubscribe``

    Raises `BadTemplate`, `BadContent`, `AttachmentChanged` or `NoUnsubscribe`: wrong for every recipient alike.
    """
    raise NotImplementedError
