"""Putting the pages into Flower, before it builds its app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.pages.loader import PageLoader
from ops.pages.roles import Roles

SETTING = "holdfast_pages"


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the pages need to know besides Flower's own options."""

    roles: Roles


def install(*, roles: str | None = None, admin: str) -> None:
    """Add the pages to Flower, which must not have built its app yet; again: the same, with these settings.

    ``roles``  for example ``alice=admin,*@example.com=operator,*=viewer``; ``admin`` is the generated user.
    Raises `ops.errors.UsageError` for roles that cannot be.
    """
    # Late: importing Flower's urls reads its options, which only Flower's own process needs.
    from flower import urls

    from ops.pages.guard import guarded
    from ops.pages.routes import routes

    settings: dict[str, object] = urls.settings
    if SETTING not in settings:
        # In front: Flower's list ends with one that takes every address.
        urls.handlers[:] = [*routes(), *(guarded(handler) for handler in urls.handlers)]
        settings["template_loader"] = PageLoader(str(settings["template_path"]))
    settings[SETTING] = PageSettings(Roles.parse(roles, admin=admin))


def page_settings(settings: Mapping[str, object]) -> PageSettings:
    """What `install` was told."""
    found = settings[SETTING]
    assert isinstance(found, PageSettings)
    return found
