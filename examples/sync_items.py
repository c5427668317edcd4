"""A connector for a shop's API, as docs/sync-connectors.md writes it, and the connection that uses it.

``HOLDFAST_SYNC=examples.sync_items:SHOP`` and ``SYNC_CONNECTION_SHOP=https://TOKEN@shop.example`` put it to use.
"""

from tasks.sync.connections import SyncConnection, SyncKind
from tasks.sync.http import Http
from tasks.sync.paging import PageNumbers
from tasks.sync.rest import RestConnector
from tasks.sync.rest_batch import Batch
from tasks.sync.rest_changes import ChangedSince


class Items(RestConnector):
    path = "items"
    columns = {"name": "name", "price": "price"}  # noqa: RUF012 - read only

    paging = PageNumbers(pages_header="X-Total-Pages")
    changes = ChangedSince("modified_after")
    updated_field = "date_modified"
    deleted_field, lists_deleted = "deleted", True

    update_method = "PUT"
    reference_field = "reference"
    batch = Batch("items/batch")


SHOP = SyncConnection(
    "shop",
    (
        SyncKind(
            name="items",
            connector=lambda address: Items(Http(address)),
            table="shop_items",
            key="id",
            columns=("name", "price"),
            policy="remote",
        ),
    ),
    limits=("14/s",),
)
