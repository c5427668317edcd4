"""docs/sync.md says what the code says."""

from __future__ import annotations

import dataclasses
import inspect

from tasks.sync.arguments import sync_arguments
from tasks.sync.connections import SyncKind
from tests.documents import PROJECT
from tests.unit.test_docs_agree import table_words

PAGE = PROJECT / "docs" / "sync.md"


def test_every_argument_of_a_sync_is_documented() -> None:
    """Each that `start_sync` takes, and no other."""
    assert table_words(PAGE, after="## Arguments") == {*inspect.signature(sync_arguments).parameters, "idempotency_key"}


def test_the_settings_that_are_explained_exist() -> None:
    """Each in the first column is a field of `SyncKind`."""
    explained = {word for word in table_words(PAGE, after="## Declaring a connection") if word.isidentifier()}
    assert explained <= {field.name for field in dataclasses.fields(SyncKind)}
    assert {"policy", "policies", "deletes", "max_delete_share"} <= explained
