"""docs/sync.md says what the code says."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator

from runstate.models import metadata
from tasks.imports.refusals import ROW_ERRORS
from tasks.sync.arguments import sync_arguments
from tasks.sync.connections import SyncKind
from tasks.sync.old_rows import OLD_ROWS
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


def test_every_code_of_a_reject_is_documented() -> None:
    """Those that a value, a row, a page or an answer can have, and no other."""
    assert codes_documented() == {*codes_raised(), *ROW_ERRORS.values()}


def codes_documented() -> set[str]:
    return table_words(PAGE, after="### Codes of rejects") - {"to_local", "to_remote", "http_None"}


def codes_raised() -> Iterator[str]:
    place = {"Unfit": 0, "Reject": 2}
    for call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in place and len(call.args) > place[call.func.id]:
            code = call.args[place[call.func.id]]
            constants = (node.value for node in ast.walk(code) if isinstance(node, ast.Constant))
            # `getattr(error, "code", …)` and `why.code` pass on what was raised.
            yield from (str(value) for value in constants if value != "code")


def calls() -> Iterator[ast.Call]:
    for source in (PROJECT / "tasks" / "sync").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def test_every_total_of_a_run_is_documented() -> None:
    """The names under which the steps count."""
    counted = {
        word.arg
        for call in calls()
        if isinstance(call.func, ast.Name) and call.func.id == "Counter"
        for word in call.keywords
        if word.arg is not None
    }
    folder = PROJECT / "tasks" / "sync"
    for source in folder.rglob("*.py"):
        counted |= set(re.findall(r'counts\["(\w+)"\]', source.read_text(encoding="utf-8")))
    for source in (*folder.glob("steps/*.py"), folder / "dry_run.py", folder / "webhook_kind.py"):
        counted |= set(re.findall(r'return \{"(\w+)": ', source.read_text(encoding="utf-8"))) - {"kind"}
    counted |= {f"remote_{action}d" for action in ("create", "update")} | {"found_by_scan", "applied", "refused"}
    assert table_words(PAGE, after="## Totals") == counted


def test_every_table_of_the_sync_is_kept_or_forgotten_as_the_page_says() -> None:
    """Each table stands in the page's table of retention; those that are never forgotten are not among `OLD_ROWS`."""
    documented = table_words(PAGE, after="## What is kept how long")
    assert documented == {name for name in metadata.tables if name.startswith("sync_")}
    never = {"sync_links", "sync_cursors", "sync_outbox"}
    assert {rows.table for rows in OLD_ROWS} == documented - never
