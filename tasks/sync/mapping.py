"""The connector's own mapping between fields and columns, and what it means when it does not cope with a record.

A mapping is a user's code that meets every shape a record can have: a field that is not there, a null, a text in place of a
number.  That is wrong with this record, and not with the page that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tasks.sync.connector import Connector, Fields

_OF_THE_SHAPE = (LookupError, TypeError, AttributeError, ArithmeticError)


def columns_of(connector: Connector, fields: Fields) -> dict[str, Any]:
    """The columns of a record.  Raises ValueError where the connector cannot tell."""
    with _naming(connector.to_local):
        return connector.to_local(fields)


def fields_of(connector: Connector, columns: Fields) -> dict[str, Any]:
    """The fields of these columns.  Raises ValueError where the connector cannot tell."""
    with _naming(connector.to_remote):
        return connector.to_remote(columns)


@contextmanager
def _naming(mapping: Callable[..., object]) -> Iterator[None]:
    try:
        yield
    except _OF_THE_SHAPE as error:
        where = getattr(mapping, "__qualname__", repr(mapping))
        raise ValueError(f"{where} does not cope with it: {type(error).__name__}: {error}") from error
