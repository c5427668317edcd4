"""Who may do what: three roles, and the least one that each action needs.  Checked on the server, for each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase

from ops.errors import UsageError


class Role(IntEnum):
    """Each role may do what those before it may."""

    NONE = 0
    VIEWER = 1
    """Sees every page, with secrets masked; changes nothing."""
    OPERATOR = 2
    """Steers runs and dead letters."""
    ADMIN = 3
    """Does what cannot be taken back or goes past a guard."""


NEEDED: Mapping[str, Role] = {
    "pause": Role.OPERATOR,
    "resume": Role.OPERATOR,
    "cancel": Role.OPERATOR,
    "recover": Role.OPERATOR,
    "recover --force": Role.ADMIN,
    "retry": Role.OPERATOR,
    "edit": Role.OPERATOR,
    "replay": Role.OPERATOR,
    "replay --over-newer": Role.ADMIN,
    "discard": Role.OPERATOR,
    "discard --all": Role.ADMIN,
    "pause limit": Role.OPERATOR,
    "resume limit": Role.OPERATOR,
    "release lock": Role.ADMIN,
    "flower": Role.OPERATOR,
    "flower admin": Role.ADMIN,
}
"""The least role for each action; a page that offers one which is not here does not start."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Names, or patterns of names such as ``*@example.com``, and the role of each; the first that fits counts."""

    rules: tuple[tuple[str, Role], ...]

    @classmethod
    def parse(cls, text: str | None, *, admin: str) -> Roles:
        """``alice=admin,*@example.com=operator,*=viewer``.  Without any rule everybody who can log in is a viewer.

        ``admin`` is the generated user: an admin unless a rule names it.  Raises `UsageError`.
        """
        rules = []
        for part in (text or "*=viewer").split(","):
            name, equals, word = part.strip().rpartition("=")
            if not equals or not name.strip() or word.strip().upper() not in ("VIEWER", "OPERATOR", "ADMIN"):
                raise UsageError(
                    f"FLOWER_ROLES: {part.strip()!r} is not NAME=ROLE with viewer, operator or admin, as in "
                    "alice=admin,*@example.com=operator,*=viewer"
                )
            rules.append((name.strip(), Role[word.strip().upper()]))
        # Names before patterns: `*=viewer` must not hide whoever is named after it.
        rules.sort(key=lambda rule: "*" in rule[0])
        named = [name for name, _ in rules]
        return cls(tuple(rules) if admin in named else ((admin, Role.ADMIN), *rules))

    def of(self, name: str) -> Role:
        """The role of a user."""
        for pattern, role in self.rules:
            if pattern == name or ("*" in pattern and fnmatchcase(name, pattern.replace("[", "[[]"))):
                return role
        return Role.NONE
