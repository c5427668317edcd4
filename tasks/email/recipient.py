"""One recipient, as every source of recipients yields it: an address and variables, or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from tasks.email.addresses import Address, parse_address
from tasks.email.errors import BadAddress

Json = Any

MAX_VARIABLES_BYTES = 64 * 1024
"""Of one recipient, as JSON: they are kept in the ledger."""


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


def recipient_of(place: int, given: Any, variables: Mapping[str, Any]) -> Recipient:
    """The recipient at ``place``; refused where the address is none, or a variable is nothing that JSON can carry."""
    if not isinstance(given, str):
        return refused(place, "" if given is None else str(given), "has no address")
    try:
        address = parse_address(given)
        return Recipient(place, given, address, json_variables(variables))
    except BadAddress as error:
        return refused(place, given, str(error))
    except ValueError as error:
        return refused(place, given, str(error))


def refused(place: int, given: str, reason: str) -> Recipient:
    """A recipient that cannot be sent to; half characters in ``given`` become question marks, for it is stored."""
    return Recipient(place, given.encode("utf-8", "replace").decode(), None, {}, reason)


def json_variables(variables: Mapping[str, Any]) -> dict[str, Json]:
    """The variables as JSON values: decimals and times as text, what is None left out.

    Raises ValueError for what JSON or UTF-8 cannot carry, and for more than `MAX_VARIABLES_BYTES`.
    """
    found = {name: value if isinstance(value, str) else _value(name, value) for name, value in variables.items()}
    found = {name: value for name, value in found.items() if value is not None}
    try:
        text = json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a variable holds half of a character (a lone surrogate); correct it") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"a variable is nothing that JSON can carry: {error}") from None
    if len(text) > MAX_VARIABLES_BYTES:
        raise ValueError(f"its variables have {len(text)} bytes, at most {MAX_VARIABLES_BYTES} are kept")
    return found


def _value(name: str, value: Any) -> Json:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray():
            raise ValueError(f"variable {name} is binary; select it as text")
        case _:
            return value
