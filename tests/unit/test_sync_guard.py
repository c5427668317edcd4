"""How many records a run may delete."""

from __future__ import annotations

import pytest

from tasks.sync.errors import TooManyDeletes
from tasks.sync.guard import check_deletes
from tests.sync_api import KIND


@pytest.mark.parametrize(
    "deletes, known, listed_nothing, stopped",
    [
        (0, 0, True, False),
        (0, 100, False, False),
        (3, 3, False, False),
        (3, 3, True, True),
        (1, 1, True, True),
        (4, 4, False, True),
        (20, 100, False, False),
        (21, 100, False, True),
        (100, 100, False, True),
    ],
)
def test_a_run_is_stopped_by_what_it_would_delete(
    deletes: int, known: int, listed_nothing: bool, stopped: bool
) -> None:
    """A fifth of the known records at most, or three; nothing at all where the list had none of them."""
    if stopped:
        with pytest.raises(TooManyDeletes, match="allow_deletes"):
            check_deletes(KIND, deletes, known, where="rows", listed_nothing=listed_nothing)
    else:
        check_deletes(KIND, deletes, known, where="rows", listed_nothing=listed_nothing)
