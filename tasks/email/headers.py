"""Header fields as bytes: what other people's text may become there, and what it may not.

Every value is one logical line: breaks and control characters in it become blanks, so that no value can begin a field of its
own.  What is not plain ASCII goes into encoded words (RFC 2047) as a whole, for mixed ones are where mailers err.
"""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, datetime

from tasks.email.addresses import Address, parse_address
from tasks.email.errors import BadContent, BadMessage

LINE_BYTES = 76
"""RFC 2047, 2: no line with an encoded word is longer."""
MAX_LINE_BYTES = 998
"""RFC 5322, 2.1.1, and what servers refuse."""
MAX_VALUE_CHARS = 998

_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,75}\Z")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")
_MAILBOX = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<address>[^<>]+)>\s*\Z")
_WORD_BYTES = 45
_OURS = {
    *("from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references"),
    *("return-path", "received", "mime-version", "list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id"),
    *("precedence", "auto-submitted", "dkim-signature", "x-test"),
}
"""The fields, in lower case, that a campaign does not set as it likes; nor those that begin with one of `_OUR_BEGINNINGS`."""
_OUR_BEGINNINGS = ("content-", "resent-", "arc-")


def one_line(text: str) -> str:
    """``text`` with every run of blanks, line breaks and control characters as one blank, and none at its ends."""
    return _BLANKS.sub(" ", text).strip()


def check_name(name: str) -> str:
    """``name`` if a campaign may set this field itself; raises `BadContent`."""
    if not _NAME.match(name):
        raise BadContent(f"header {name!r}: a name has letters, digits and hyphens, at most 76, e.g. X-Company-ID")
    if name.lower() in _OURS or name.lower().startswith(_OUR_BEGINNINGS):
        raise BadContent(
            f"header {name}: is set by the campaign's own arguments or by the message's make-up; leave it out"
        )
    return name


def text_field(name: str, value: str) -> bytes:
    """An unstructured field (Subject, X-…), folded, with its CRLF.  Raises `BadMessage` if the value is too long."""
    value = one_line(value)
    if len(value) > MAX_VALUE_CHARS:
        raise BadMessage(f"{name} is {len(value)} characters long, at most {MAX_VALUE_CHARS} are sent; shorten it")
    start = f"{name}: "
    if value.isascii() and "=?" not in value:
        if len(start) + len(value) <= LINE_BYTES:
            return f"{start}{value}\r\n".encode("ascii")
        folded = _folded(start, value)
        if folded is not None:
            return folded
    return f"{start}{encoded_words(value, name, len(start))}\r\n".encode("ascii")


def mailbox_field(name: str, display_name: str, address: Address) -> bytes:
    """A field with one address (From, To, Reply-To), with its CRLF.

    Raises `BadMessage` if the display name is too long.  The address is written as it is: in UTF-8 if its local part is
    not ASCII, which takes a server with SMTPUTF8.
    """
    display_name = one_line(display_name)
    start = f"{name}: "
    if not display_name:
        return f"{start}{address.normalised}\r\n".encode()
    if len(display_name) > MAX_VALUE_CHARS:
        raise BadMessage(f"the name in {name} is {len(display_name)} characters long; shorten it")
    if display_name.isascii() and "=?" not in display_name and len(display_name) <= LINE_BYTES - len(start) - 2:
        shown = display_name if _ATOMS.match(display_name) else _quoted(display_name)
    else:
        shown = encoded_words(display_name, name, len(start))
    last = shown.rpartition("\r\n")[2]
    room = LINE_BYTES - (len(last) if "\r\n" in shown else len(start) + len(last))
    between = " " if len(address.normalised) + 3 <= room else "\r\n "
    return f"{start}{shown}{between}<{address.normalised}>\r\n".encode()


def parse_mailbox(given: str, argument: str) -> tuple[str, Address]:
    """Display name and address of ``Name <address>`` or of an address alone; raises `BadContent`, naming the argument."""
    if any(char in given for char in "\r\n\0"):
        raise BadContent(f"{argument}={given!r}: has a line break or NUL; give one line, 'Name <address>'")
    match = _MAILBOX.match(given)
    name, address = (match["name"], match["address"]) if match else ("", given)
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    try:
        parsed = parse_address(address)
        name.encode()
    except (ValueError, UnicodeError) as error:
        raise BadContent(f"{argument}={given!r}: {error}; give an address or 'Name <address>'") from None
    return one_line(name), parsed


def date_field(at: datetime) -> bytes:
    """Date, in UTC."""
    at = at.astimezone(UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"Date: {day}, {at.day:02} {month} {at.year} {at:%H:%M:%S} +0000\r\n".encode("ascii")


def encoded_words(value: str, name: str, used: int) -> str:
    """``value`` as encoded words, each whole characters, in lines of at most `LINE_BYTES`; ``used``: bytes before the first."""
    words: list[str] = []
    part: list[bytes] = []
    size = 0
    limit = min(_WORD_BYTES, (LINE_BYTES - used - 12) // 4 * 3)
    for char in value:
        try:
            data = char.encode()
        except UnicodeEncodeError:
            raise BadMessage(f"{name} holds {char!r}, half of a character; correct the recipient's variables") from None
        if part and size + len(data) > limit:
            words.append(_word(b"".join(part)))
            part, size, limit = [], 0, _WORD_BYTES
        part.append(data)
        size += len(data)
    words.append(_word(b"".join(part)))
    return "\r\n ".join(words)


def _word(data: bytes) -> str:
    return f"=?utf-8?b?{b64encode(data).decode('ascii')}?="


def _folded(start: str, value: str) -> bytes | None:
    """The field folded at its blanks, or None where a word is longer than a line may be."""
    lines, line = [], start.rstrip()
    for word in value.split(" "):
        if len(word) > MAX_LINE_BYTES - 100:
            return None
        if len(line) + 1 + len(word) > LINE_BYTES and line.strip() and line != start.rstrip():
            lines.append(line)
            line = f" {word}"
        else:
            line = f"{line} {word}" if line else f" {word}"
    return ("\r\n".join([*lines, line]) + "\r\n").encode("ascii")


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


# strftime would write them in the language of the process.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
