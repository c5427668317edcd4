"""A template in several files written as one: what it extends and includes put in its place, before anything is filled in.

So its styles are inlined, and its text is made, once per campaign.  Only what surely means the same is put together; where a
template sets variables, imports macros or chooses what to include, None says that it stays in several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from jinja2 import Environment

from tasks.email.jinja_source import Piece, bare, pieces

_TAG = re.compile(r"\{%[-+]?\s*(?P<word>\w+)\s*(?P<rest>.*?)\s*[-+]?%\}\s*\Z", re.DOTALL)
_CONSTANT = re.compile(r"""(["'])(?P<name>[^"'\\]+)\1\Z""")
_BLOCK = re.compile(r"(?P<name>\w+)\Z")
_SUPER = re.compile(r"\{\{[-+]?\s*super\(\)\s*[-+]?\}\}\s*\Z")
# What they set or define would be seen in places where it is not, or the other way round; or they ask for names.
_STAYS = {"set", "endset", "import", "from", "macro", "call", "filter", "with"}

Pieces = Sequence[Piece]


class _CannotBeOne(Exception):
    """The template stays in several files."""


def flatten(name: str, sources: Mapping[str, str], environment: Environment) -> str | None:
    """The template ``name`` as one source for an environment without `trim_blocks` and `lstrip_blocks`, or None.

    Raises `jinja2.TemplateSyntaxError`, and RecursionError for a template that includes itself.
    """
    try:
        return "".join(bare(piece) for piece in _whole(name, sources, environment))
    except _CannotBeOne:
        return None


def _whole(name: str, sources: Mapping[str, str], environment: Environment) -> Iterator[Piece]:
    """The pieces of a template with its blocks filled: its own, or those of whoever extends it."""
    bodies: dict[str, list[Pieces]] = {}
    while True:
        found = list(pieces(sources[name], environment))
        if any(_word(piece)[0] in _STAYS or "self." in piece.text for piece in found if piece.kind != "html"):
            raise _CannotBeOne
        parent = _parent(found)
        for block, body in _blocks(found):
            bodies.setdefault(block, []).append(body)
        if parent is None:
            yield from _filled(found, bodies, sources, environment)
            return
        name = parent


def _filled(
    found: Pieces, bodies: Mapping[str, list[Pieces]], sources: Mapping[str, str], environment: Environment
) -> Iterator[Piece]:
    at = 0
    while at < len(found):
        piece, (word, rest) = found[at], _word(found[at])
        if word == "block":
            at = _end(found, at)
            yield from _block(_block_name(rest), 0, bodies, sources, environment)
        elif word == "include":
            yield from _whole(_constant(rest), sources, environment)
        elif "super(" in piece.text and piece.kind != "html":
            raise _CannotBeOne
        else:
            yield piece
        at += 1


def _block(
    name: str, level: int, bodies: Mapping[str, list[Pieces]], sources: Mapping[str, str], environment: Environment
) -> Iterator[Piece]:
    """A block as the last of those who extend it has it; ``super()`` in it is the one before."""
    part: list[Piece] = []
    for piece in bodies[name][level]:
        if piece.kind == "print" and _SUPER.match(piece.text):
            yield from _filled(part, bodies, sources, environment)
            part = []
            if level + 1 >= len(bodies[name]):
                raise _CannotBeOne
            yield from _block(name, level + 1, bodies, sources, environment)
        else:
            part.append(piece)
    yield from _filled(part, bodies, sources, environment)


def _parent(found: Pieces) -> str | None:
    """What the template extends; then nothing but its blocks counts, so nothing else may steer them."""
    extends = [rest for word, rest in map(_word, found) if word == "extends"]
    if not extends:
        return None
    depth = 0
    for word, _ in map(_word, found):
        if depth == 0 and word not in ("", "block", "extends"):
            raise _CannotBeOne
        depth += (word == "block") - (word == "endblock")
    if len(extends) > 1:
        raise _CannotBeOne
    return _constant(extends[0])


def _blocks(found: Pieces) -> Iterator[tuple[str, Pieces]]:
    """Every block and its pieces, those within others among them."""
    for at, piece in enumerate(found):
        word, rest = _word(piece)
        if word == "block":
            yield _block_name(rest), found[at + 1 : _end(found, at)]


def _end(found: Pieces, at: int) -> int:
    """Where the block that begins at ``at`` ends."""
    depth = 0
    for place in range(at, len(found)):
        word, _ = _word(found[place])
        depth += (word == "block") - (word == "endblock")
        if depth == 0:
            return place
    raise _CannotBeOne


def _word(piece: Piece) -> tuple[str, str]:
    match = _TAG.match(piece.text) if piece.kind == "block" else None
    return (match["word"], match["rest"]) if match else ("", "")


def _block_name(rest: str) -> str:
    match = _BLOCK.match(rest)
    if not match:
        raise _CannotBeOne
    return match["name"]


def _constant(rest: str) -> str:
    match = _CONSTANT.match(rest)
    if not match:
        raise _CannotBeOne
    return match["name"]
