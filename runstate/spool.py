"""Lists of a start's arguments that are too long for its row: stored in parts, under the run that was started with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from runstate import documents

PART_BYTES = 256 * 1024


def store(connection: Connection, run_id: str, name: str, items: Sequence[Any]) -> None:
    """Write a list in parts of about `PART_BYTES`, in the transaction that writes the run's row."""
    for part_no, part in enumerate(_parts(items)):
        connection.execute(
            text("INSERT INTO spooled_lists (run_id, name, part_no, items) VALUES (:run_id, :name, :part_no, :items)"),
            {"run_id": run_id, "name": name, "part_no": part_no, "items": part},
        )


def read_part(connection: Connection, run_id: str, name: str, part_no: int) -> list[Any] | None:
    """One part of a list, or None past its end.  A replay reads the list of the run that it replays."""
    owner: str | None = run_id
    while owner is not None:
        found = connection.execute(
            text(
                "SELECT r.parent_run_id, s.items, EXISTS (SELECT 1 FROM spooled_lists o WHERE o.run_id = r.run_id"
                " AND o.name = :name) AS owns FROM runs r LEFT JOIN spooled_lists s ON s.run_id = r.run_id"
                " AND s.name = :name AND s.part_no = :part_no WHERE r.run_id = :run_id"
            ),
            {"run_id": owner, "name": name, "part_no": part_no},
        ).one_or_none()
        if found is None or found.owns:
            return documents.load(found.items) if found is not None and found.items is not None else None
        owner = found.parent_run_id
    return None


def _parts(items: Sequence[Any]) -> Iterator[str]:
    part: list[str] = []
    size = 0
    for item in items:
        item_text = documents.dump(item)
        item_bytes = len(item_text.encode())
        if part and size + item_bytes > PART_BYTES:
            yield f"[{','.join(part)}]"
            part, size = [], 0
        part.append(item_text)
        size += item_bytes
    if part:
        yield f"[{','.join(part)}]"
