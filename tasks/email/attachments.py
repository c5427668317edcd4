"""Attachments: files under the allowed roots, pinned by their hash, encoded once for all recipients."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from tasks.email.errors import AttachmentChanged, BadContent
from tasks.email.headers import one_line
from tasks.email.mime import base64_lines
from tasks.imports.errors import BadSource
from tasks.imports.source import Source

Json = Any
Roots = Sequence[str | os.PathLike[str]]

MAX_TOTAL_BYTES = 10 * 1024 * 1024
"""Of all attachments of a message: encoded a third more; many servers refuse what is over 20 to 25 MB."""
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,80}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}\Z")
_CONTENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,60}\Z")


def attachment_argument(given: Any) -> dict[str, Json]:
    """One attachment of a start, checked as far as it can be without the file; raises `BadContent`."""
    parts = {"path": given} if isinstance(given, str | os.PathLike) else given
    if not isinstance(parts, Mapping) or not isinstance(parts.get("path"), str | os.PathLike):
        raise BadContent(f"attachments: {given!r}: give a path, or {{'path': …, 'name': …, 'type': …, 'inline': …}}")
    unknown = set(parts) - {"path", "name", "type", "inline"}
    if unknown:
        raise BadContent(f"attachments: {', '.join(sorted(unknown))}: there are path, name, type and inline")
    path = os.fspath(parts["path"])
    name = parts.get("name") or PurePath(path).name
    if not isinstance(name, str) or one_line(name) != name or "/" in name or len(name) > 200:
        raise BadContent(f"attachments: name={name!r}: give a file name without slashes, in one line, at most 200 long")
    kind = parts.get("type") or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if not isinstance(kind, str) or not _TYPE.match(kind) or kind.startswith(("multipart/", "message/")):
        raise BadContent(f"attachments: type={kind!r}: give a media type such as application/pdf")
    inline = parts.get("inline")
    if inline is not None and (not isinstance(inline, str) or not _CONTENT_ID.match(inline)):
        raise BadContent(f'attachments: inline={inline!r}: give a word, which the HTML names as src="cid:word"')
    return {"path": os.path.abspath(path), "name": name, "type": kind, "inline": inline}


def pin_attachments(attachments: Sequence[Mapping[str, Json]], roots: Roots) -> list[dict[str, Json]]:
    """The attachments with size and SHA-256; raises `BadContent` where one cannot be read or all are too large."""
    pinned, total = [], 0
    for attachment in attachments:
        data = _read(attachment["path"], roots, MAX_TOTAL_BYTES - total)
        total += len(data)
        pinned.append({**attachment, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    return pinned


def load_attachment(pinned: Mapping[str, Json], roots: Roots) -> bytes:
    """The whole part, encoded, of an attachment of `pin_attachments`; raises `AttachmentChanged` if the file is another."""
    data = _read(pinned["path"], roots, MAX_TOTAL_BYTES)
    if hashlib.sha256(data).hexdigest() != pinned["sha256"]:
        raise AttachmentChanged(
            f"attachment {pinned['path']} is not the file that was planned ({pinned['size']} bytes then, {len(data)} now); "
            "put that one back, or start a new campaign"
        )
    name = _file_name(pinned["name"])
    head = f"Content-Type: {pinned['type']};\r\n name{name}\r\nContent-Transfer-Encoding: base64\r\n"
    if pinned["inline"]:
        head += f"Content-ID: <{pinned['inline']}>\r\nContent-Disposition: inline;\r\n filename{name}\r\n\r\n"
    else:
        head += f"Content-Disposition: attachment;\r\n filename{name}\r\n\r\n"
    return head.encode("ascii") + base64_lines(data)


def _read(path: str, roots: Roots, at_most: int) -> bytes:
    try:
        with Source(path, roots, roots_setting="EMAIL_ATTACHMENT_ROOTS") as source:
            size = source.pin().size
            if size > at_most:
                raise BadContent(
                    f"attachment {path} has {size} bytes, all together may have {MAX_TOTAL_BYTES}; link to it instead"
                )
            return source.read(0, size + 1)
    except BadSource as error:
        raise BadContent(f"attachment {error}") from None


def _file_name(name: str) -> str:
    """The end of a ``name`` or ``filename`` parameter: quoted, or by RFC 2231 where it is not plain."""
    if name.isascii() and not set(name) & set('"\\%'):
        return f'="{name}"'
    return f"*=utf-8''{quote(name, safe='')}"
