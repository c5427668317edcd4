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
    metrics_token: str | None = None


def install(*, roles: str | None = None, admin: str, metrics_token: str | None = None) -> None:
    """Add the pages to Flower, which must not have built its app yet; again: the same, with these settings.

    ``roles``  for example ``alice=admin,*@example.com=operator,*=viewer``; ``admin`` is the generated user;
    ``metrics_token`` lets Prometheus read the numbers, and nothing else.
    Raises `ops.errors.UsageError` for roles or a token that cannot be.
    """
    # Late: importing Flower's urls reads its options, which only Flower's own process needs.
    from flower import urls

    from ops.pages.guard import guarded
    from ops.pages.routes import routes
    from ops.pages.scraper import parse_token

    settings: dict[str, object] = urls.settings
    if SETTING not in settings:
        # In front: Flower's list ends with one that takes every address.
        urls.handlers[:] = [*routes(), *(guarded(handler) for handler in urls.handlers)]
        settings["template_loader"] = PageLoader(str(settings["template_path"]))
    settings[SETTING] = PageSettings(Roles.parse(roles, admin=admin), parse_token(metrics_token))


def page_settings(settings: Mapping[str, object]) -> PageSettings:
    """What `install` was told."""
    found = settings[SETTING]
    assert isinstance(found, PageSettings)
    return found
