"""What can be wrong with a campaign, a recipient or a message, before any server is asked."""

from __future__ import annotations


class EmailError(Exception):
    """Base of every error that the ordinary modules of e-mail raise."""


class BadAddress(EmailError, ValueError):
    """A text is no e-mail address that can be sent to; the message says what is wrong with it."""

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(f"{_short(given)}: {reason}")
        self.given = given
        self.reason = reason


class BadRecipients(EmailError):
    """The recipients as a whole cannot be read, or one of them lacks what the template needs; nothing may be sent.

    ``place`` is the line of the file or the number in the list or query, None where it is not about one.
    """

    def __init__(self, source: str, message: str, *, place: int | None = None) -> None:
        super().__init__(f"{source}{f', line {place}' if place else ''}: {message}")
        self.source = source
        self.place = place


class BadTemplate(EmailError):
    """A template cannot be found or compiled; the message names it, and the line where there is one."""

    def __init__(self, template: str, message: str, *, line: int | None = None) -> None:
        super().__init__(f"template {template}{f', line {line}' if line else ''}: {message}")
        self.template = template
        self.line = line


class BadContent(EmailError):
    """A sender, header or attachment that no message can carry; wrong for every recipient alike."""


class AttachmentChanged(BadContent):
    """An attachment is not the file that was planned."""


class BadMessage(EmailError):
    """The message of this one recipient cannot be made: the template fails with its variables, or a header gets too long."""


class BadToken(EmailError):
    """An unsubscribe token was not signed with any of our keys, or is damaged."""


class NoUnsubscribe(EmailError):
    """Unsubscribe links are wanted but cannot be made: the key or the address of the page is not set."""


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "…")
