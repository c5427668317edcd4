"""Text made from HTML, for readers and filters that want some: paragraphs, lists and links stay what they are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from jinja2 import Environment, TemplateSyntaxError

from tasks.email.jinja_source import Marked, mark

_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "blockquote", "pre", "hr"}
_LINES = {"div", "li", "tr", "dt", "dd", "section", "article", "header", "footer", "main", "center", "tbody", "thead"}
_SKIPPED = {"head", "style", "script", "title", "template"}
_VOID = {"br", "hr", "img", "input", "meta", "link", "col", "area", "base", "embed", "source", "wbr"}
_SPACES = re.compile(r"[ \t\r\n\f]+")
_MANY_LINES = re.compile(r"[ \t]*\n(?:[ \t]*\n)+")
_BLANKS_AT_END = re.compile(r"[ \t]+$", re.MULTILINE)


def html_to_text(html: str) -> str:
    """The text of a document; links as ``words (address)``, images as their alternative text."""
    return tidy(_read(Marked(html)))


def source_to_text(source: str, environment: Environment) -> str | None:
    """A text template made of an HTML template; None where only the filled document can be converted.

    Fill it in an environment without autoescaping and without ``trim_blocks``, then `tidy` it.
    """
    marked = mark(source, environment)
    text = marked.restored_blocks(_read(marked))
    try:
        environment.parse(text or "")
    except TemplateSyntaxError:
        # A block that begins within an attribute and ends behind it.
        return None
    return text


def tidy(text: str) -> str:
    """``text`` with at most one blank line at a time, none at its ends, and no blanks at the ends of lines."""
    return _BLANKS_AT_END.sub("", _MANY_LINES.sub("\n\n", text)).strip("\n") + "\n"


def _read(marked: Marked) -> str:
    reader = _Reader(marked)
    reader.feed(marked.html)
    reader.close()
    return "".join(reader.parts)


class _Reader(HTMLParser):
    def __init__(self, marked: Marked) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._marked = marked
        self._newlines = 0
        self._space = False
        self._at_start = True
        self._skipping: list[str] = []
        self._preformatted = 0
        self._lists: list[int | None] = []
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if self._skipping or tag in _SKIPPED:
            if tag not in _VOID:
                self._skipping.append(tag)
            return
        self._break(tag)
        match tag:
            case "br":
                self._flush()
                self.parts.append("\n")
                self._at_start, self._space = True, False
            case "hr":
                self._write("-" * 20)
                self._newlines = 2
            case "img" if given.get("alt", "").strip():
                self._write(_SPACES.sub(" ", given["alt"].strip()))
            case "a":
                self._flush()
                self._links.append((given.get("href", "").strip(), len(self.parts)))
            case "ul" | "ol":
                self._lists.append(1 if tag == "ol" else None)
            case "li":
                self._write(self._bullet())
                self._at_start = True
            case "td" | "th":
                self._space = not self._at_start
            case "pre":
                self._preformatted += 1

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            if tag in self._skipping:
                del self._skipping[self._skipping.index(tag) :]
            return
        match tag:
            case "a" if self._links:
                self._close_link(*self._links.pop())
            case "ul" | "ol" if self._lists:
                self._lists.pop()
            case "pre" if self._preformatted:
                self._preformatted -= 1
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if self._preformatted:
            self._write(data)
            self._at_start = data.endswith("\n")
            return
        words = _SPACES.sub(" ", data)
        if words.startswith(" "):
            self._space = True
        if words.strip(" "):
            self._write(words.strip(" "))
            self._space = words.endswith(" ")

    def handle_comment(self, data: str) -> None:
        marker = f"<!--{data}-->"
        piece = self._marked.jinja.get(marker)
        if piece is None:
            return
        if self._skipping:
            # What steers the head may steer the rest, a {% set %} for example.
            self.parts.append(marker)
        elif piece.kind == "print":
            self._write(marker)
        else:
            # Breaks go before it: behind it they would belong to one branch, or to each turn of a loop.
            self._flush()
            self.parts.append(marker)

    def _break(self, tag: str) -> None:
        if tag in ("ul", "ol") and self._lists:
            self._newlines = max(self._newlines, 1)
        elif tag in _PARAGRAPHS:
            self._newlines = max(self._newlines, 2)
        elif tag in _LINES:
            self._newlines = max(self._newlines, 1)

    def _flush(self) -> None:
        """Write the breaks and the blank that are due; at the start of a line, fewer."""
        if self._newlines:
            if self.parts:
                self.parts.append("\n" * (self._newlines - 1 if self._at_start else self._newlines))
            self._newlines, self._at_start = 0, True
        elif self._space and not self._at_start:
            self.parts.append(" ")
        self._space = False

    def _write(self, text: str) -> None:
        self._flush()
        self.parts.append(text)
        self._at_start = False

    def _bullet(self) -> str:
        depth = "  " * max(0, len(self._lists) - 1)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{depth}- "
        self._lists[-1] = number + 1
        return f"{depth}{number}. "

    def _close_link(self, address: str, since: int) -> None:
        words = "".join(self.parts[since:]).strip()
        bare = address.removeprefix("mailto:").removeprefix("tel:")
        if not address or address.startswith("#") or self._marked.filled(words) == self._marked.filled(bare):
            return
        self._space = self._space or bool(words)
        self._write(f"({bare})" if words else bare)
