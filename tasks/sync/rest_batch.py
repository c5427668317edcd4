"""Batch endpoints that answer 200 and have each entry's own result, or error, inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.sync.connector import Write
from tasks.sync.http_answer import Answer, check, refuse
from tasks.sync.json_paths import value_at
from tasks.sync.remote_errors import NotFound, OutcomeUnknown, RemoteError, Unusable
from tasks.sync.rest_records import NoRecord
from tasks.sync.write_each import WHOLE_CONNECTION, Outcome, in_parts

if TYPE_CHECKING:
    from tasks.sync.rest import RestConnector


@dataclass(frozen=True, slots=True)
class Batch:
    """``{"create": [{…}], "update": [{"id": …}], "delete": [ID, …]}``, answered by the same lists of results, in the same order.

    ``path``        below the base URL; ``size``: how many entries one request may have
    ``names``       what the API calls the three lists
    ``error_at``    where an entry of the answer has its error; ``status_at``: where that has its HTTP status
    ``delete_ids``  deletes are bare ids; else objects with the id
    """

    path: str
    size: int = 100
    names: Mapping[str, str] = field(
        default_factory=lambda: {"create": "create", "update": "update", "delete": "delete"}
    )
    error_at: str = "error"
    status_at: str = "error.status"
    delete_ids: bool = True


def send_batch(rest: RestConnector, batch: Batch, writes: Sequence[Write]) -> list[Outcome]:
    """What became of each write, in their order; see `Connector.write_many`.

    Batches have no If-Match, so what is bound to a version is read and compared first, one by one.
    """
    return in_parts(writes, batch.size, lambda part: _part(rest, batch, part))


def _part(rest: RestConnector, batch: Batch, writes: Sequence[Write]) -> list[Outcome]:
    outcomes = _compared(rest, writes)
    left = [(index, write) for index, write in enumerate(writes) if index not in outcomes]
    if left:
        outcomes.update(_sent(rest, batch, left))
    return [outcomes[index] for index in range(len(writes))]


def _compared(rest: RestConnector, writes: Sequence[Write]) -> dict[int, Outcome]:
    """The writes that must not be made, by reading first."""
    refused: dict[int, Outcome] = {}
    for index, write in enumerate(writes):
        if write.op == "create" or write.if_version is None or write.remote_id is None:
            continue
        try:
            rest.check_version(write.remote_id, write.if_version)
        except WHOLE_CONNECTION:
            raise
        except RemoteError as error:
            refused[index] = error
    return refused


def _sent(rest: RestConnector, batch: Batch, writes: Sequence[tuple[int, Write]]) -> dict[int, Outcome]:
    content: dict[str, list[Any]] = {}
    order: dict[str, list[tuple[int, Write]]] = {}
    for index, write in writes:
        name = batch.names[write.op]
        content.setdefault(name, []).append(_entry(rest, batch, write))
        order.setdefault(name, []).append((index, write))
    url = rest.http.url(*(part for part in batch.path.split("/") if part))
    try:
        answer = check(rest.http.request("POST", url, content=content))
        results = answer.json()
    except OutcomeUnknown as error:
        return {index: error for index, _ in writes}
    except NotFound as error:
        raise Unusable(f"{error}: there is no such batch endpoint", status=error.status) from error
    outcomes: dict[int, Outcome] = {}
    for name, asked in order.items():
        found = results.get(name) if isinstance(results, Mapping) else None
        if not isinstance(found, list) or len(found) != len(asked):
            unknown = OutcomeUnknown(f"{answer.request}: {name} has not one result for each of {len(asked)} entries")
            outcomes.update({index: unknown for index, _ in asked})
            continue
        for (index, write), result in zip(asked, found, strict=True):
            outcomes[index] = _outcome(rest, batch, answer, write, result)
    return outcomes


def _entry(rest: RestConnector, batch: Batch, write: Write) -> Any:
    if write.op == "create":
        return rest.entry(write)
    remote_id = str(write.remote_id)
    # Ids that are numbers in the API are numbers in its batches.
    own_id: Any = int(remote_id) if remote_id.isascii() and remote_id.isdecimal() else remote_id
    if write.op == "delete" and batch.delete_ids:
        return own_id
    return {**rest.entry(write), rest.id_field: own_id}


def _outcome(rest: RestConnector, batch: Batch, answer: Answer, write: Write, result: Any) -> Outcome:
    request = f"{answer.request} ({write.op} {write.remote_id or ''})"
    error = value_at(result, batch.error_at)
    if error is not None:
        status = value_at(result, batch.status_at)
        body = json.dumps(error).encode()
        try:
            # Without a status it is the entry that is wrong: the request as a whole was taken.
            refuse(Answer(request, status if isinstance(status, int) and status >= 300 else 400, {}, body))
        except RemoteError as refused:
            return refused
    if write.op == "delete":
        return None
    try:
        record = rest.shape.record(result)
    except NoRecord as wrong:
        return OutcomeUnknown(f"{request}: {wrong}")
    if write.op == "update" and record.deleted:
        return NotFound(f"{request}: the record is deleted")
    return record
