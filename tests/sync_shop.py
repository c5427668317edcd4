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


SMALL_SHOP = SyncConnection("shop", (replace(ITEMS, connector=_small, batch=20),))
