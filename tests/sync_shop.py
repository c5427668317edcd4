"""A connection to the Kinto server of the tests, for tests on real services."""

from __future__ import annotations

from dataclasses import replace

from tasks.sync.connections import SyncConnection, SyncKind
from tasks.sync.connector import Connector
from tasks.sync.http import Http
from tasks.sync.kinto import KintoConnector
from tasks.sync.signature import GITHUB
from tasks.sync.webhook import Webhook
from tests.sync_api import COLUMNS


class ShopItems(KintoConnector):
    """The collection ``items``, and its webhooks."""

    webhook = Webhook(GITHUB)
    page_size = 1000
    batch_size = 100


def _connector(address: str) -> Connector:
    return ShopItems(Http(address), "shop", "items", {name: name for name in COLUMNS})


ITEMS = SyncKind(
    name="items",
    connector=_connector,
    table="items",
    key="id",
    columns=COLUMNS,
    policy="newest",
    changed_at="changed_at",
)
SHOP = SyncConnection("shop", (ITEMS,))


class SmallPages(ShopItems):
    """Pages and batches small enough that a few hundred records are many jobs."""

    page_size = 50
    batch_size = 10


def _small(address: str) -> Connector:
    return SmallPages(Http(address), "shop", "items", {name: name for name in COLUMNS})


def _small_parts(address: str) -> Connector:
    return SmallPages(Http(address), "shop", "parts", {name: name for name in COLUMNS})


def _small_others(address: str) -> Connector:
    return SmallPages(Http(address), "shop", "others", {name: name for name in COLUMNS})


_SMALL = replace(ITEMS, connector=_small, batch=20)
PARTS = replace(_SMALL, name="parts", table="parts", connector=_small_parts)
OTHERS = replace(_SMALL, name="others", table="others", connector=_small_others)
SMALL_SHOP = SyncConnection("shop", (_SMALL, PARTS))
OTHER_SHOP = SyncConnection("other", (OTHERS,))
"""Somebody else's API, which the first one's troubles are nothing to."""


class TinyBatches(ShopItems):
    """Many requests: one write in each, and a few records on a page."""

    page_size = 10
    batch_size = 1


def _tiny(address: str) -> Connector:
    return TinyBatches(Http(address), "shop", "items", {name: name for name in COLUMNS})


POLICIES = {"name": "newest", "price": "newest", "stock": "local"}
BUSY_SHOP = SyncConnection("shop", (replace(ITEMS, connector=_tiny, batch=10, policies=POLICIES),))
