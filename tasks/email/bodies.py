"""The two bodies of a message: HTML with its styles inlined, and text, given or made from the HTML."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from jinja2 import nodes

from tasks.email.css import has_styles, inline_source_styles, inline_styles
from tasks.email.errors import BadTemplate
from tasks.email.flattening import flatten
from tasks.email.plaintext import html_to_text, source_to_text, tidy
from tasks.email.template import Template, environment_for

Json = Any

_OTHER_FILES: tuple[type[nodes.Node], ...] = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
# HTML that stands in the source in another place, or in another context, than in the document.
_OUT_OF_PLACE: tuple[type[nodes.Node], ...] = (
    *_OTHER_FILES,
    nodes.Macro,
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.AssignBlock,
)
_MAKES_HTML = {"safe", "e", "escape", "forceescape", "urlize", "xmlattr", "tojson", "striptags", "indent"}


class Bodies:
    """The body templates of a campaign, compiled.  Raises `BadTemplate`."""

    def __init__(self, pinned: Mapping[str, Json], given: frozenset[str]) -> None:
        """``pinned``: ``sources`` by name, and the names of the ``html`` and the ``text`` template."""
        self._sources: Mapping[str, str] = pinned["sources"]
        self._given = given
        self._html: Template | None = None
        self._text: Template | None = None
        self.inlines_each = self.converts_each = False
        """Whether styles are inlined, and the text made, message by message, because the template leaves no other way."""
        if pinned["html"]:
            self._compile_html(pinned["html"], wants_text=not pinned["text"])
        if pinned["text"]:
            self._text = self._template(pinned["text"], self._sources[pinned["text"]], html=False)

    @property
    def has_html(self) -> bool:
        """Whether messages have an HTML part."""
        return self._html is not None

    @property
    def has_text(self) -> bool:
        """Whether they have a text part."""
        return self._text is not None or self.converts_each

    @cached_property
    def templates(self) -> tuple[Template, ...]:
        """What is rendered for each recipient."""
        return tuple(template for template in (self._html, self._text) if template is not None)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every variable that a body uses somewhere, those that every message has left out."""
        return frozenset().union(*(template.names for template in self.templates))

    def render(self, values: Mapping[str, Json]) -> tuple[str | None, str | None]:
        """Text and HTML of one message, None for a part it does not have; raises `BadMessage`."""
        html = self._html.render(values) if self._html is not None else None
        if html is not None and self.inlines_each:
            html = inline_styles(html)
        if self._text is not None:
            text = self._text.render(values)
            return (tidy(text) if self._text.name == _MADE else text), html
        return (html_to_text(html) if html is not None else None), html

    def _compile_html(self, name: str, *, wants_text: bool) -> None:
        environment = environment_for(self._sources, html=True)
        # As it stands, so that errors name its files and lines; an included one is compiled with it.
        for file in self._sources.keys() - {name}:
            Template(file, self._sources[file], environment)
        self._html = Template(name, self._sources[name], environment, self._given)
        try:
            whole = flatten(name, self._sources, environment)
        except RecursionError:
            raise BadTemplate(name, "includes or extends itself") from None
        source = self._sources[name]
        if whole is not None:
            source, environment = whole, environment_for(html=True, tidy=False)
            self._html = Template(name, source, environment, self._given)
        tree = environment.parse(source)
        if any(map(has_styles, self._sources.values())):
            try:
                fixed = None if _has(tree, _OUT_OF_PLACE) else inline_source_styles(source, environment)
            except ValueError as error:
                raise BadTemplate(name, f"its styles cannot be read: {error}") from None
            self.inlines_each = fixed is None
            if fixed is not None:
                self._html = Template(name, fixed, environment, self._given)
        if wants_text:
            makes_html = any(found.name in _MAKES_HTML for found in tree.find_all(nodes.Filter))
            made = None if makes_html or _has(tree, _OUT_OF_PLACE) else source_to_text(source, environment)
            self.converts_each = made is None
            if made is not None:
                self._text = Template(_MADE, made, environment_for(html=False, tidy=False), self._given)

    def _template(self, name: str, source: str, *, html: bool) -> Template:
        return Template(name, source, environment_for(self._sources, html=html), self._given)


def _has(tree: nodes.Template, kinds: tuple[type[nodes.Node], ...]) -> bool:
    return any(isinstance(node, kinds) for node in tree.find_all(nodes.Node))


_MADE = "(text made from the HTML)"
