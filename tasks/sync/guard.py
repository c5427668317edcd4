"""The guard against deletes that nobody meant: a list that came back empty, the wrong account, a truncated table.  Pure."""

from __future__ import annotations

from tasks.sync.connections import SyncKind
from tasks.sync.errors import TooManyDeletes


def check_deletes(kind: SyncKind, deletes: int, known: int, *, where: str, listed_nothing: bool = False) -> None:
    """Raise `TooManyDeletes` if ``deletes`` of ``known`` records are more than the kind's share.

    ``where``           what would be deleted, for the message
    ``listed_nothing``  a full listing had none of the known records: then nothing is deleted, however few they are
    """
    if deletes == 0:
        return
    if listed_nothing:
        raise TooManyDeletes(
            f"the API's list has none of the {known} known records, so nothing is deleted; if they are really gone, "
            "start again with allow_deletes=True"
        )
    if deletes <= kind.few_deletes or deletes <= kind.max_delete_share * known:
        return
    raise TooManyDeletes(
        f"{deletes} of {known} {where} would be deleted, more than max_delete_share={kind.max_delete_share:g} allows: nothing "
        "was deleted and nothing pushed; look at `dry_run=True`, and if it is meant, start with allow_deletes=True"
    )
