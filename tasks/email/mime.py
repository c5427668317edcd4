"""Bodies and parts as bytes: everything that is the same for all recipients is encoded once, and is not looked at again."""

from __future__ import annotations

import binascii
from base64 import encodebytes
from collections.abc import Sequence
from typing import NamedTuple

from tasks.email.errors import BadMessage

_HIGH_BYTES = bytes(range(128, 256))
_TYPE = {subtype: f"Content-Type: text/{subtype}; charset=utf-8\r\n".encode() for subtype in ("plain", "html")}
_QUOTED_PRINTABLE = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
_BASE64 = b"Content-Transfer-Encoding: base64\r\n\r\n"


class Frame(NamedTuple):
    """The parts around the bodies, ready to be joined: ``before``, text, ``between``, HTML, ``after``."""

    before: bytes
    between: bytes
    after: bytes


def text_part(text: str, subtype: str) -> bytes:
    """A ``text/plain`` or ``text/html`` part, its header fields included; its line ends become CRLF.

    Quoted-printable, or base64 where more than a sixth is not ASCII and it comes out shorter.  Either way no line is longer
    than 76 characters, and nothing on the way has a reason to change it.  Raises `BadMessage` for half characters.
    """
    # One line end at least, and CRLF all through: b2a_qp takes the first one for a pattern of what it writes itself.
    canonical = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    try:
        data = (canonical if canonical.endswith("\r\n") else canonical + "\r\n").encode()
    except UnicodeEncodeError as error:
        raise BadMessage(f"the text holds {text[error.start]!r}, half of a character; correct the variables") from None
    if (len(data) - len(data.translate(None, _HIGH_BYTES))) * 6 > len(data):
        return _TYPE[subtype] + _BASE64 + base64_lines(data)
    return _TYPE[subtype] + _QUOTED_PRINTABLE + binascii.b2a_qp(data, istext=True)


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 characters, CRLF behind each."""
    return encodebytes(data).replace(b"\n", b"\r\n")


def frame(*, has_text: bool, has_html: bool, inline: Sequence[bytes], attached: Sequence[bytes], seed: str) -> Frame:
    """What stands around the bodies of a message: mixed( alternative( text, related( html, inline ) ), attached ).

    Containers with one part are left out.  ``inline`` and ``attached`` are whole parts, with their fields.  The boundaries
    hold ``=_``, which neither quoted-printable nor base64 can, so no body is searched for them.
    """
    before, between, after = b"", b"", b""
    if has_html and inline:
        opened, behind = _around("related", f"{seed}r", inline)
        # The HTML is its first part: opened where the HTML begins.
        between += opened
        after += behind
    if has_text and has_html:
        start, delimiter, end = _container("alternative", f"{seed}a")
        before, between, after = start, b"\r\n" + delimiter + between, after + end
    elif has_html:
        before, between = between, b""
    if attached:
        opened, behind = _around("mixed", f"{seed}m", attached)
        before, after = opened + before, after + behind
    return Frame(before, between, after)


def _around(subtype: str, boundary: str, parts: Sequence[bytes]) -> tuple[bytes, bytes]:
    start, delimiter, end = _container(subtype, boundary)
    return start, b"".join(b"\r\n" + delimiter + part for part in parts) + end


def _container(subtype: str, boundary: str) -> tuple[bytes, bytes, bytes]:
    """Fields and first delimiter, a delimiter (its line break before it not included), and the closing one."""
    mark = f"=_{boundary}"
    # RFC 2387, 3.1: related says what its first part is.
    kind = f'{subtype}; type="text/html"' if subtype == "related" else subtype
    head = f'Content-Type: multipart/{kind}; boundary="{mark}"\r\n\r\n'
    return f"{head}--{mark}\r\n".encode(), f"--{mark}\r\n".encode(), f"\r\n--{mark}--\r\n".encode()
