"""Recipients, one after another, from a file, a list or a query; no more than a part of them is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

from sqlalchemy import Engine

from tasks.email.addresses import Address

Json = Any


class Recipient(NamedTuple):
    """One recipient, or one that is refused.

    ``place``      line of the file, or number in the list or the query's rows; from 1
    ``given``      the address as it stood there
    ``address``    None if it is refused
    ``variables``  JSON values by name, for the template; what is NULL or None is left out, so it counts as missing
    ``refused``    why it cannot be sent to: a sentence; None if it can
    """

    place: int
    given: str
    address: Address | None
    variables: dict[str, Json]
    refused: str | None = None


def recipients_argument(recipients: Any) -> Json:
    """The ``recipients`` of a start in canonical form; given its own result, it returns it unchanged.

    A path, or ``{"csv": path, "address": "email", "delimiter": ",", "encoding": "utf-8"}``
    ``{"query": "newsletter", "parameters": {"since": "2026-01-01"}}``, a query of `register_query`
    a list of addresses, or of mappings with ``email`` and the variables

    Raises `tasks.errors.BadArguments`.
    """
    raise NotImplementedError


def read_recipients(
    recipients: Json, *, roots: Sequence[str | PathLike[str]], engine: Engine | None = None
) -> Iterator[Recipient]:
    """Every recipient of ``recipients`` (as `recipients_argument` gave it, the list perhaps spooled), in order.

    Duplicates are yielded as often as they stand there.  Raises `BadRecipients` if the source cannot be read to its end.
    """
    raise NotImplementedError


def describe_recipients(recipients: Json | Mapping[str, Json]) -> str:
    """How operators see them: ``customers.csv``, ``query newsletter``, ``12 addresses``."""
    raise NotImplementedError
