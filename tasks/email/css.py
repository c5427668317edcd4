"""Styles written into the elements, for mail clients that drop style sheets: once per campaign where that is possible."""

from __future__ import annotations

import re

import css_inline
from jinja2 import Environment

from tasks.email.jinja_source import mark

# Nothing is fetched, neither over the network nor from this disk; what cannot be inlined (`@media`) stays in a <style>.
_INLINER = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)
_STYLE = re.compile(r"<style\b", re.IGNORECASE)
_TABLE_WITHOUT_BODY = re.compile(
    # What stands in a comment, for one mail client alone, is no table to the parser.
    r"<!--(?!jq\d).*?-->|(?P<table><table\b[^>]*>)(?=(?:\s|<!--jq\d+z\d+q-->)*<tr\b)",
    re.IGNORECASE | re.DOTALL,
)
_TBODY = re.compile(r"<tbody\b", re.IGNORECASE)
_TAG = re.compile(r"</?([a-z][a-z0-9:-]*)", re.IGNORECASE)
# What the parser adds or the inliner takes away, and no Jinja could be torn apart by.
_ADDED = {"html", "head", "body", "tbody", "style"}


def has_styles(html: str) -> bool:
    """Whether there is a ``<style>`` to inline."""
    return _STYLE.search(html) is not None


def inline_styles(html: str) -> str:
    """The document with its styles inlined.  Raises ValueError where a style sheet cannot be read."""
    return _INLINER.inline(html)


def inline_source_styles(source: str, environment: Environment) -> str | None:
    """The template's source with its styles inlined, before it is ever filled.

    None where only the filled document can tell which styles apply, as when a class is a variable, or where the parser
    would move the Jinja to another place: then `inline_styles` does it message by message; see bench/email_render.py.
    Raises ValueError where a style sheet cannot be read, and `jinja2.TemplateSyntaxError`.
    """
    marked = mark(source, environment)
    if not marked.styles_are_fixed:
        return None
    # HTML puts a <tbody> around rows; put there by the parser, it would come to lie within a loop around them.
    html = _TABLE_WITHOUT_BODY.sub(lambda match: match[0] + ("<tbody>" if match["table"] else ""), marked.html)
    inlined = _INLINER.inline(html)
    if marked.jinja and (_TBODY.findall(inlined) != _TBODY.findall(html) or _tags(inlined) != _tags(html)):
        return None
    return marked.restored(inlined)


def _tags(html: str) -> list[str]:
    """Every tag in order: one that the parser dropped, moved or closed was open in one branch and closed in another."""
    return [match[0].lower() for match in _TAG.finditer(html) if match[1].lower() not in _ADDED]
