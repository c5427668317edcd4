"""Where templates are found: by name under the template roots, with all that they include or extend."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import TemplateSyntaxError, meta

from tasks.email.errors import BadTemplate
from tasks.email.template import environment_for
from tasks.imports.errors import BadSource
from tasks.imports.source import Source

Roots = Sequence[str | os.PathLike[str]]

MAX_TEMPLATE_BYTES = 1024 * 1024
MAX_ALL_BYTES = 4 * 1024 * 1024
HTML, TEXT = "(html)", "(text)"
"""The names of inline templates among the sources."""


def find_sources(template: str | Mapping[str, str], roots: Roots) -> tuple[dict[str, str], str | None, str | None]:
    """The sources by name, and the names of the HTML and of the text template, None where there is none.

    Raises `BadTemplate` where one is not there, is not UTF-8, is too large, or includes one whose name only a filling would tell.
    """
    inline: dict[str, str] = {}
    html: str | None
    text: str | None
    if isinstance(template, Mapping):
        inline = {shown: template[key] for shown, key in ((HTML, "html"), (TEXT, "text")) if template.get(key)}
        html = HTML if HTML in inline else None
        text = TEXT if TEXT in inline else None
    else:
        html, text = _by_name(template, roots)
    sources: dict[str, str] = {}
    wanted = [name for name in (html, text) if name]
    while wanted:
        name = wanted.pop()
        if name in sources:
            continue
        sources[name] = inline[name] if name in inline else _read(name, roots)
        if sum(map(len, sources.values())) > MAX_ALL_BYTES:
            raise BadTemplate(name, f"makes the templates of this campaign larger than {MAX_ALL_BYTES} characters")
        wanted.extend(_referenced(name, sources[name]))
    return sources, html, text


def _by_name(name: str, roots: Roots) -> tuple[str | None, str | None]:
    if name.endswith(".txt"):
        return None, name
    if name.endswith((".html", ".htm")):
        beside = name.rpartition(".")[0] + ".txt"
        return name, beside if _path(beside, roots) else None
    html: str | None
    text: str | None
    html, text = (found if _path(found, roots) else None for found in (f"{name}.html", f"{name}.txt"))
    if html is None and text is None:
        raise BadTemplate(name, f"there is neither {name}.html nor {name}.txt {_under(roots)}")
    return html, text


def _path(name: str, roots: Roots) -> Path | None:
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise BadTemplate(name, f"give the name of a template {_under(roots)}, without .. and not from the root")
    candidates = (Path(root) / name for root in roots)
    return next((path for path in candidates if path.exists()), None)


def _read(name: str, roots: Roots) -> str:
    path = _path(name, roots)
    if path is None:
        raise BadTemplate(name, f"there is no such file {_under(roots)}")
    try:
        with Source(str(path), roots, roots_setting="EMAIL_TEMPLATE_ROOTS") as source:
            data = source.read(0, MAX_TEMPLATE_BYTES + 1)
        if len(data) > MAX_TEMPLATE_BYTES:
            raise BadTemplate(name, f"is larger than {MAX_TEMPLATE_BYTES} bytes")
        return data.decode("utf-8-sig")
    except BadSource as error:
        raise BadTemplate(name, str(error)) from None
    except UnicodeDecodeError as error:
        raise BadTemplate(name, f"is not UTF-8 (byte {error.start}); convert it first") from None


def _referenced(name: str, source: str) -> Iterator[str]:
    try:
        tree = environment_for(html=True).parse(source, name)
    except TemplateSyntaxError as error:
        raise BadTemplate(name, error.message or "cannot be compiled", line=error.lineno) from None
    for found in meta.find_referenced_templates(tree):
        if found is None:
            raise BadTemplate(name, "includes or extends a template by a variable; name it, so that it can be pinned")
        yield found


def _under(roots: Roots) -> str:
    return f"under {' or '.join(str(root) for root in roots) or 'any root'} (EMAIL_TEMPLATE_ROOTS)"
