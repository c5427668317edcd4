"""The documents say what the code says."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from runstate.models import metadata
from stack.pools import POOLS, pool_numbers
from tasks import failpoints
from tasks.dispatcher import Dispatcher
from tasks.images.arguments import batch_arguments, image_arguments
from tasks.images.kind import COUNTS
from tasks.images.variants import Variant
from tasks.imports.arguments import import_arguments
from tasks.imports.refusals import ROW_ERRORS
from tests.docs_tables import filled
from tests.documents import DOCUMENTS, PROJECT

README, DOCS = PROJECT / "README.md", PROJECT / "docs"
# Not settings of ours: where programs lie; what tests set.
NOT_OURS = {"PATH", "CI"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_generated_tables_are_up_to_date(document: Path) -> None:
    """Statuses, transitions and numbers stand in the documents as they stand in the code (`python -m tests.docs_tables`)."""
    text = document.read_text(encoding="utf-8")
    assert text == filled(text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every link to a file of the project, and every path in backticks that names one of its folders, exists."""
    text = document.read_text(encoding="utf-8")
    linked = [document.parent / target for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)]
    folders = "|".join(sorted(path.name for path in PROJECT.iterdir() if path.is_dir() and path.name[0] not in "._"))
    named = [PROJECT / path for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text) if not path.startswith("var/")]
    assert [path for path in linked + named if not path.exists()] == []


def test_every_environment_variable_is_documented() -> None:
    """docs/settings.md has each variable that the code, Supervisor or Flower reads, and no other."""
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]{3,})`", text))
    read = set(variables_read()) - NOT_OURS
    pool_words = {"PROCESSES", "CONCURRENCY", "MAX_TASKS", "MAX_MEMORY_KB"}
    assert read - documented == set()
    # Families, such as one variable for each mail provider, are read by their beginning.
    families = tuple(
        re.findall(
            r'^_[A-Z_]+ = "([A-Z_]+_)"', (PROJECT / "tasks/settings.py").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert {name for name in documented - read - pool_words if not name.startswith(families)} == {"PYTHON"}


def variables_read() -> Iterator[str]:
    """Variables that the sources ask the environment, ``stack.env`` or Supervisor's configuration for."""
    asked = re.compile(
        r"""(?:environ(?:\.get|\.pop)?|values\.get|required|number)\s*[\[(]\s*f?["']([A-Z][A-Z0-9_]+)["']"""
    )
    named = re.compile(r'^(?:STACK_MARK|\w*_VARIABLE) = "([A-Z_]+)"', re.MULTILINE)
    for package in ("locks", "runstate", "tasks", "stack", "ops"):
        for source in (PROJECT / package).rglob("*.py"):
            text = source.read_text(encoding="utf-8")
            yield from asked.findall(text)
            yield from named.findall(text)
    for name in ("celeryconfig.py", "flowerconfig.py"):
        yield from asked.findall((PROJECT / name).read_text(encoding="utf-8"))
    yield from re.findall(r"%\(ENV_([A-Z_]+)\)s", (PROJECT / "supervisord.conf").read_text(encoding="utf-8"))
    yield from pool_numbers({})


def test_every_pool_is_a_program() -> None:
    """The pools that the settings list are those that Supervisor keeps."""
    programs = re.findall(
        r"^\[program:(\w+)\]$", (PROJECT / "supervisord.conf").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [pool.queue for pool in POOLS] == [name for name in programs if name not in ("dispatcher", "beat", "flower")]


def test_every_failpoint_has_its_row() -> None:
    """docs/lifecycle.md says of each place where a process can be made to die what is left and who goes on."""
    rows = table_words(DOCS / "lifecycle.md", after="## If the process dies right here")
    assert set(failpoints.POINTS) <= rows


def test_every_step_of_the_dispatcher_has_its_row() -> None:
    """docs/lifecycle.md names each step of a round."""
    source = inspect.getsource(Dispatcher.__init__)
    steps = set(re.findall(r"self\.(\w+),$", source, re.MULTILINE))
    assert steps
    assert table_words(DOCS / "lifecycle.md", after="## The dispatcher") == steps


def test_every_table_has_its_row() -> None:
    """docs/lifecycle.md says of each table of ours what a row is."""
    import tasks.starts  # noqa: F401 - kinds declare theirs when they are imported

    assert table_words(DOCS / "lifecycle.md", after="## Tables") == set(metadata.tables)


def test_every_argument_of_an_import_is_documented() -> None:
    """docs/imports.md has each argument that `start_import` takes."""
    taken = {*inspect.signature(import_arguments).parameters, "idempotency_key"}
    assert table_words(DOCS / "imports.md", after="## Arguments") == taken


def test_every_argument_of_an_image_batch_is_documented() -> None:
    """docs/images.md has each argument that `start_image_batch` and `process_image` take, and each field of a variant."""
    taken = {name for check in (batch_arguments, image_arguments) for name in inspect.signature(check).parameters}
    assert table_words(DOCS / "images.md", after="## Arguments") == taken | {"idempotency_key"}
    assert {field.name for field in fields(Variant)} <= table_words(DOCS / "images.md", after="## Variants")


def test_every_total_of_an_image_batch_is_documented() -> None:
    """docs/images.md explains each count of a run's result."""
    assert table_words(DOCS / "images.md", after="## Totals") == {*COUNTS, "found", "unchanged", "failed"}


def test_every_reject_code_is_documented() -> None:
    """docs/imports.md explains each code that a reject can have."""
    assert table_words(DOCS / "imports.md", after="## Rejects") == {*codes_raised(), *ROW_ERRORS.values()}


def codes_raised() -> Iterator[str]:
    """The codes that stand where the import's modules make a problem of a value or a row."""
    place = {"Unfit": 0, "Problem": 1}
    for source in (PROJECT / "tasks" / "imports").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in place:
                code = node.args[place[node.func.id]]
                if isinstance(code, ast.Constant):
                    yield str(code.value)


def table_words(document: Path, *, after: str) -> set[str]:
    """What stands in backticks in the first column of the tables of one section."""
    section = document.read_text(encoding="utf-8").partition(f"{after}\n")[2].partition("\n## ")[0]
    assert section, f"{document.name} has no section {after!r}"
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}
