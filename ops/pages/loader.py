"""Templates: ours beside Flower's, and our tabs in Flower's navigation."""

from __future__ import annotations

from pathlib import Path

from tornado.template import Loader, Template

TEMPLATES = Path(__file__).parent / "templates"
_OURS = "holdfast/"
_FIRST_TAB = '<ul class="app-nav navbar-nav">'


class NavigationChanged(RuntimeError):
    """Flower's navigation is not what it was when this was written: the pages would have no tabs."""


class PageLoader(Loader):
    """Flower's templates, ours below ``holdfast/``, and the navigation with both."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        return name if name.startswith(_OURS) else super().resolve_path(name, parent_path)

    def _create_template(self, name: str) -> Template:
        if name.startswith(_OURS):
            source = (TEMPLATES / name).read_text(encoding="utf-8")
            # `show` escapes like Flower's, and makes visible what could steer the direction or forge a line.
            return Template(source, name=name, loader=self, autoescape="show")
        if name == "navbar.html":
            return Template(self._with_our_tabs(), name=name, loader=self)
        return super()._create_template(name)

    def _with_our_tabs(self) -> str:
        navigation = (Path(self.root) / "navbar.html").read_text(encoding="utf-8")
        if navigation.count(_FIRST_TAB) != 1:
            raise NavigationChanged(
                "Flower's navbar.html has another first list of tabs: look at ops/pages/loader.py, or pin Flower to 2.2"
            )
        tabs = (TEMPLATES / _OURS / "tabs.html").read_text(encoding="utf-8")
        return navigation.replace(_FIRST_TAB, _FIRST_TAB + tabs)
