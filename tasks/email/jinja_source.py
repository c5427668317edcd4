"""A template's source, taken apart into its HTML and its Jinja, so that HTML can be worked on with the Jinja out of the way.

Each piece of Jinja is put out of the way by a marker that an HTML parser carries along unchanged: a comment where text may
stand (comments alone stay where they are inside tables), a word within attribute values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from jinja2 import Environment

_OPENING = {"block_begin": "block_end", "variable_begin": "variable_end", "comment_begin": "comment_end"}
_RAW_TEXT = ("style", "script", "title", "textarea")
_STYLED_BY = ("class", "id", "style")
_WORD = "jq{}z{}q"
_CONTROL = re.compile(r"^(\{[%{])[-+]|[-+]([%}]\})$")
# Text that was none of the Jinja but would become some: out of character references, or out of {% raw %}.
_JINJA = re.compile(r"\{[{%#]")


class Piece(NamedTuple):
    """A stretch of a source: ``html``, ``print`` (``{{ … }}``) or ``block`` (``{% … %}``)."""

    kind: str
    text: str


def pieces(source: str, environment: Environment) -> Iterator[Piece]:
    """The source in order; comments left out.  Raises `jinja2.TemplateSyntaxError`."""
    parts: list[str] = []
    until = None
    for _, sort, text in environment.lex(source):
        if until is not None:
            parts.append(text)
            if sort == until:
                if until != "comment_end":
                    yield Piece("print" if until == "variable_end" else "block", "".join(parts))
                parts, until = [], None
        elif sort in _OPENING:
            parts, until = [text], _OPENING[sort]
        else:
            yield Piece("html" if sort == "data" else "block", text)


def bare(piece: Piece) -> str:
    """The piece's text without what it takes away around it (``{%-``, `trim_blocks`): from the pieces beside it that is gone.

    Put together, such pieces are a source for an environment without `trim_blocks` and `lstrip_blocks`.
    """
    return piece.text if piece.kind == "html" else _CONTROL.sub(r"\1\2", piece.text.strip())


@dataclass
class Marked:
    """HTML with a marker for each piece of Jinja, and whether none of them decides which styles apply."""

    html: str
    jinja: dict[str, Piece] = field(default_factory=dict)
    styles_are_fixed: bool = True
    nonce: int = 0
    """A number that makes the markers unlike anything in the source."""

    def markers_in(self, marked: str) -> list[str]:
        """The markers in ``marked``, in order."""
        return self._pattern.findall(marked)

    def restored(self, marked: str) -> str | None:
        """``marked``, the HTML after some work on it, with its Jinja back in place; None unless it is all there, in order."""
        if self.markers_in(marked) != list(self.jinja) or _JINJA.search(marked):
            return None
        return self.filled(marked)

    def restored_blocks(self, marked: str) -> str | None:
        """``marked``, something made of the HTML, with the Jinja back; None unless every block is there once."""
        blocks = sorted(marker for marker, piece in self.jinja.items() if piece.kind == "block")
        found = sorted(marker for marker in self.markers_in(marked) if self.jinja[marker].kind == "block")
        if found != blocks or _JINJA.search(marked):
            return None
        # What a {%- or trim_blocks takes away is gone from the HTML already; here line ends are the converter's affair.
        return self._pattern.sub(lambda match: bare(self.jinja[match[0]]), marked)

    def filled(self, marked: str) -> str:
        """``marked`` with the Jinja in place of its markers."""
        return self._pattern.sub(lambda match: self.jinja[match[0]].text, marked)

    @property
    def _pattern(self) -> re.Pattern[str]:
        word = _WORD.format(self.nonce, r"\d+")
        return re.compile(f"<!--{word}-->|{word}")


def mark(source: str, environment: Environment) -> Marked:
    """The source with its Jinja marked.  Raises `jinja2.TemplateSyntaxError`."""
    nonce = 0
    while f"jq{nonce}z" in source:
        nonce += 1
    marked, where = Marked("", nonce=nonce), _Where()
    parts: list[str] = []
    for piece in pieces(source, environment):
        if piece.kind == "html":
            where.read(piece.text)
            parts.append(piece.text)
            continue
        marker = _WORD.format(nonce, len(marked.jinja))
        where.read_marker()
        if where.in_text:
            marker = f"<!--{marker}-->"
        elif not where.harmless:
            marked.styles_are_fixed = False
        marked.jinja[marker] = piece
        parts.append(marker)
    marked.html = "".join(parts)
    return marked


class _Where:
    """Where in the HTML the reader is; as much of a tokenizer as that takes."""

    def __init__(self) -> None:
        self._state, self._word, self._tag, self._attribute = "text", "", "", ""

    @property
    def in_text(self) -> bool:
        return self._state == "text"

    @property
    def harmless(self) -> bool:
        """Whether what stands here cannot decide which styles apply, nor be lost with an attribute's syntax."""
        if self._state == "raw":
            return self._tag == "title"
        return self._state == "comment" or (
            self._state in ("'", '"', "bare") and self._attribute not in _STYLED_BY and bool(self._attribute)
        )

    def read(self, html: str) -> None:
        at = 0
        while at < len(html):
            at = getattr(self, f"_read_{_NAMES[self._state]}")(html, at)

    def read_marker(self) -> None:
        if self._state == "value":
            self._attribute, self._state = self._attribute.strip(), "bare"

    def _read_text(self, html: str, at: int) -> int:
        start = html.find("<", at)
        if start < 0:
            return len(html)
        if html.startswith("<!--", start):
            self._state = "comment"
            return start + 4
        name = re.match(r"</?([A-Za-z][A-Za-z0-9:-]*)", html[start : start + 40])
        if not name:
            return start + 1
        self._state, self._tag, self._word = "tag", html[start + 1 : start + name.end()].lower(), ""
        return start + name.end()

    def _read_comment(self, html: str, at: int) -> int:
        end = html.find("-->", at)
        if end < 0:
            return len(html)
        self._state = "text"
        return end + 3

    def _read_raw(self, html: str, at: int) -> int:
        end = html.lower().find(f"</{self._tag}", at)
        if end < 0:
            return len(html)
        self._state = "text"
        return end

    def _read_tag(self, html: str, at: int) -> int:
        char = html[at]
        if char == ">":
            self._state = "raw" if self._tag in _RAW_TEXT else "text"
        elif char == "=":
            self._attribute, self._word, self._state = self._word.lower(), "", "value"
        elif char.isspace() or char == "/":
            # The blank may stand before the "=": the name is kept until another one begins.
            self._word += " " if self._word and not self._word.endswith(" ") else ""
        else:
            self._word = char if self._word.endswith(" ") else self._word + char
        return at + 1

    def _read_value(self, html: str, at: int) -> int:
        char = html[at]
        if char.isspace():
            return at + 1
        self._attribute = self._attribute.strip()
        self._state = char if char in "'\"" else "bare"
        return at + 1 if char in "'\"" else at

    def _read_quoted(self, html: str, at: int) -> int:
        end = html.find(self._state, at)
        if end < 0:
            return len(html)
        self._state = "tag"
        return end + 1

    def _read_bare(self, html: str, at: int) -> int:
        if html[at].isspace() or html[at] == ">":
            self._state = "tag"
            return at
        return at + 1


_NAMES = {
    "text": "text", "comment": "comment", "raw": "raw", "tag": "tag", "value": "value", "bare": "bare",
    "'": "quoted", '"': "quoted",
}  # fmt: skip
