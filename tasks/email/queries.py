"""Queries by name: the SQL stands in code, a campaign only says which one and with what parameters.

    from tasks.email.queries import register_query

    register_query("newsletter", "SELECT email, name FROM customers WHERE newsletter AND joined >= :since")

The modules that register queries are named in EMAIL_QUERIES, so that whichever process plans the campaign knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import Any, NamedTuple

from sqlalchemy import Connection, CursorResult, Engine, text
from sqlalchemy.exc import DBAPIError

from tasks.email.errors import BadRecipients
from tasks.email.recipient import Recipient, recipient_of
from tasks.settings import settings

BATCH_ROWS = 1000
PATIENCE_S = 600
"""How long the server waits for us to take more rows: between two batches the ledger is written."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_TRANSIENT = (1205, 1213, 2006, 2013)


class Query(NamedTuple):
    """A registered query; ``address`` is the column with the addresses, the others are variables by their names."""

    name: str
    sql: str
    address: str


_queries: dict[str, Query] = {}


def register_query(name: str, sql: str, *, address: str = "email") -> Query:
    """Register a SELECT under ``name``, once per process; its parameters are written ``:name``.

    Raises ValueError for a name that is none, or that another query has.
    """
    if not _NAME.match(name):
        raise ValueError(
            f"register_query({name!r}): lower-case letters, digits and _, starting with a letter, at most 40"
        )
    query = Query(name, sql, address)
    if _queries.setdefault(name, query) != query:
        raise ValueError(f"register_query({name!r}): another query has this name already")
    return query


def query_named(name: str) -> Query:
    """The query; raises `BadRecipients`, naming those that there are."""
    if name not in _queries:
        for module in settings().email_queries:
            import_module(module)
    try:
        return _queries[name]
    except KeyError:
        known = ", ".join(sorted(_queries)) or "none"
        raise BadRecipients(
            f"query {name}",
            f"is not registered here; there are: {known}. Register it in a module that EMAIL_QUERIES names",
        ) from None


def read_query(name: str, parameters: Mapping[str, Any], engine: Engine) -> Iterator[Recipient]:
    """The query's rows as recipients, streamed by a server-side cursor from one consistent read.

    Raises `BadRecipients` where the query is wrong; what is only MySQL's trouble is passed on.
    """
    query = query_named(name)
    place = 0
    try:
        with (
            engine.connect() as connection,
            # Closed before the transaction ends, also when it is left early: the driver takes the other rows off the line.
            closing(_ask(connection, query, parameters)) as rows,
        ):
            names = list(rows.keys())
            at = _address_column(query, names)
            for place, row in enumerate(rows, 1):
                yield recipient_of(place, row[at], dict(zip(names, row, strict=True)))
    except DBAPIError as error:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else None
        if error.connection_invalidated or code in _TRANSIENT:
            raise
        raise BadRecipients(f"query {name}", f"MySQL says: {error.orig}", place=place or None) from None


def _ask(connection: Connection, query: Query, parameters: Mapping[str, Any]) -> CursorResult[Any]:
    connection.exec_driver_sql(f"SET SESSION net_write_timeout = {PATIENCE_S}")
    connection.commit()
    # A registered query that writes is a mistake; the server refuses it.
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    streaming = connection.execution_options(stream_results=True, yield_per=BATCH_ROWS)
    return streaming.execute(text(query.sql), dict(parameters))


def _address_column(query: Query, names: Sequence[str]) -> int:
    if len(set(names)) < len(names):
        raise BadRecipients(f"query {query.name}", "has two columns of one name; give one of them another: … AS …")
    if query.address not in names:
        raise BadRecipients(
            f"query {query.name}", f"has no column {query.address!r} but {', '.join(names)}; register it with address=…"
        )
    return names.index(query.address)
