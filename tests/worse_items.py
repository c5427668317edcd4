"""A connector for the API of the worse kind, and a connection: what a user would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tasks.sync.connections import SyncConnection, SyncKind
from tasks.sync.http import Http
from tasks.sync.paging import PageNumbers
from tasks.sync.rest import RestConnector
from tasks.sync.rest_batch import Batch
from tasks.sync.rest_changes import ChangedSince
from tests.worse_api import TOKEN, WorseApi


class WorseItems(RestConnector):
    """``/items`` of `tests.worse_api`, with references by which lost creates are found."""

    path = "items"
    columns: ClassVar[Mapping[str, str]] = {"name": "name", "price": "price"}
    updated_field = "date_modified"
    deleted_field = "deleted"
    lists_deleted = True
    changes = ChangedSince("modified_after")
    paging = PageNumbers(pages_header="X-Total-Pages")
    update_method = "PUT"
    reference_field = "reference"
    batch = Batch("items/batch")


def items_of(api: WorseApi) -> WorseItems:
    """The connector for an API that is being served."""
    return WorseItems(Http(address_of(api)))


def address_of(api: WorseApi) -> str:
    """The API's address with its token."""
    return api.url.replace("http://", f"http://{TOKEN}@")


ROWS = (
    "CREATE TABLE worse_rows (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(8,2)) "
    "CHARSET=utf8mb4"
)
WORSE = SyncConnection(
    "worse",
    (
        SyncKind(
            name="items",
            connector=lambda address: WorseItems(Http(address)),
            table="worse_rows",
            key="id",
            columns=("name", "price"),
            policy="local",
            scan=True,
        ),
    ),
)
