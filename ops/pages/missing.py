"""An address below ours that is none: said with our navigation and after the login, as everything else."""

from __future__ import annotations

from tornado.web import HTTPError

from ops.pages.handler import Page


class MissingPage(Page):
    """Every other address."""

    async def get(self) -> None:
        raise HTTPError(404, "There is no such page: an address that was cut, perhaps")
