"""Recipients, one after another, from a file, a list or a query; no more than a part of them is in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import PurePath
from typing import Any

from sqlalchemy import Engine

from tasks.email.errors import BadRecipients
from tasks.email.queries import read_query
from tasks.email.recipient import Recipient, recipient_of
from tasks.email.recipients_csv import read_csv
from tasks.errors import BadArguments
from tasks.imports.arguments import encoding_name

Json = Any

__all__ = ["Recipient", "describe_recipients", "read_recipients", "recipients_argument"]

_CSV = {"csv", "address", "delimiter", "encoding"}
_QUERY = {"query", "parameters"}


def recipients_argument(recipients: Any) -> Json:
    """The ``recipients`` of a start in canonical form; given its own result, it returns it unchanged.

    A path, or ``{"csv": path, "address": "email", "delimiter": ",", "encoding": "utf-8"}``;
    ``{"query": "newsletter", "parameters": {"since": "2026-01-01"}}``, a query of `tasks.email.queries.register_query`;
    or a list of addresses, or of mappings with ``email`` and the variables.

    Raises `tasks.errors.BadArguments`.
    """
    if isinstance(recipients, str | PathLike):
        return _csv({"csv": recipients})
    if isinstance(recipients, Mapping):
        keys = set(recipients)
        if "csv" in keys and keys <= _CSV:
            return _csv(recipients)
        if "query" in keys and keys <= _QUERY:
            return _query(recipients)
    elif isinstance(recipients, Iterable) and not isinstance(recipients, bytes):
        return [_entry(number, entry) for number, entry in enumerate(recipients, 1)]
    raise BadArguments(
        f"recipients={str(recipients)[:100]!r}: give the path of a CSV file, {{'csv': …, 'address': …, 'delimiter': …, "
        "'encoding': …}, {'query': …, 'parameters': {…}}, or a list of addresses or of {'email': …, …}"
    )


def read_recipients(
    recipients: Json, *, roots: Sequence[str | PathLike[str]], engine: Engine | None = None
) -> Iterator[Recipient]:
    """Every recipient of ``recipients`` (as `recipients_argument` gave it, the list perhaps spooled), in order.

    Duplicates are yielded as often as they stand there.  Raises `BadRecipients` if the source cannot be read to its end.

    ``roots``   where CSV files may lie
    ``engine``  where queries are asked
    """
    if not isinstance(recipients, Mapping):
        return (
            recipient_of(number, entry["email"], entry)
            if isinstance(entry, Mapping)
            else recipient_of(number, entry, {})
            for number, entry in enumerate(recipients, 1)
        )
    if "csv" in recipients:
        return read_csv(recipients, roots)
    if engine is None:
        raise BadRecipients(f"query {recipients['query']}", "there is no database to ask")
    return read_query(recipients["query"], recipients["parameters"], engine)


def describe_recipients(recipients: Json | Mapping[str, Json]) -> str:
    """How operators see them: ``customers.csv``, ``query newsletter``, ``12 recipients``."""
    if not isinstance(recipients, Mapping):
        return f"{len(recipients)} recipient{'' if len(recipients) == 1 else 's'}"
    return PurePath(recipients["csv"]).name if "csv" in recipients else f"query {recipients['query']}"


def _csv(given: Mapping[str, Any]) -> Json:
    path = given["csv"]
    path = os.fspath(path) if isinstance(path, str | PathLike) else ""
    if not isinstance(path, str) or not path or "\0" in path or "://" in path:
        raise BadArguments(f"recipients: csv={path!r}: give the path of a file that the workers have, too")
    address, delimiter = given.get("address", "email"), given.get("delimiter", ",")
    if not isinstance(address, str) or not address.strip():
        raise BadArguments(f"recipients: address={address!r}: give the name of the column with the addresses")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise BadArguments(
            f'recipients: delimiter={delimiter!r}: give one ASCII character that is neither ", nor a line end, nor NUL'
        )
    encoding = encoding_name(given.get("encoding", "utf-8"))
    return {"csv": os.path.abspath(path), "address": address, "delimiter": delimiter, "encoding": encoding}


def _query(given: Mapping[str, Any]) -> Json:
    parameters = given.get("parameters") or {}
    if not isinstance(given["query"], str) or not isinstance(parameters, Mapping):
        raise BadArguments("recipients: give {'query': the name it is registered under, 'parameters': {name: value}}")
    return {"query": given["query"], "parameters": dict(parameters)}


def _entry(number: int, entry: Any) -> Json:
    if isinstance(entry, str):
        return {"email": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("email"), str):
        raise BadArguments(f"recipients: number {number}, {str(entry)[:100]!r}: give an address or {{'email': …, …}}")
    if not all(isinstance(name, str) for name in entry):
        raise BadArguments(f"recipients: number {number}: the names of variables are texts")
    return dict(entry)
