"""The shell commands of the documents, run on a live stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack.layout import PROJECT
from tests.documents import DOCUMENTS, Block, blocks
from tests.e2e.harness import Stack
from tests.kinds import ALL, EFFECTS_TABLE

# Each has tests of its own, and none can be run from within a test: `make test` would run this one, `make down` would stop the
# stack that it runs on, `make logs` never ends.  That they are targets is a unit test.
NOT_HERE = ("test", "down", "logs")
OPERATIONS = [PROJECT / "docs" / "operations.md", *sorted((PROJECT / "docs" / "operations").glob("*.md"))]
WITH_COMMANDS = [document for document in DOCUMENTS if blocks("sh", document) and document not in OPERATIONS]


@pytest.mark.stack(HOLDFAST_IMPORTS_PROCESSES="2", HOLDFAST_IMAGES_PROCESSES="1", HOLDFAST_FLOWERS="1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda document: document.name)
def test_every_command_works(stack: Stack, document: Path) -> None:
    """Whoever types the commands of a document, from top to bottom, sees none of them fail."""
    type_commands(stack, document, RUN_ID=imported(stack), DEST=str(stack.var / "variants" / "gallery"))


@pytest.mark.stack(HOLDFAST_KINDS=ALL, HOLDFAST_EMAIL_PROCESSES="1")
@pytest.mark.timeout(600)
def test_every_command_of_the_operators_works(stack: Stack) -> None:
    """Every situation is typed on a run that is under way, a dead letter, and an import with rejects."""
    stack.run("-c", f"from tests.integration.machinery import execute; execute({EFFECTS_TABLE!r})")
    import_run = imported(stack)
    ended = started(stack, 'jobs=[{"fails": 9, "error": "permanent", "message": "broken"}], key="ended"')
    letter = stack.run("-c", _FIRST_LETTER.format(run_id=ended)).stdout.strip()
    for number, document in enumerate(OPERATIONS):
        # What one situation ended is not there for the next.
        busy = started(stack, f'n=2000, do={{"sleep_s": 0.5}}, key="busy {number}"')
        type_commands(stack, document, RUN_ID=busy, LETTER=letter, IMPORT_RUN_ID=import_run)
        stack.run("-m", "ops", "runs", "cancel", busy, "--reason", "the next situation", check=False)


_FIRST_LETTER = """
from tests.integration.machinery import query, run_of
from tests.waiting import wait_until
wait_until(lambda: run_of("{run_id}").ended, 60)
print(query("SELECT id FROM dead_letters")[0][0])
"""


def imported(stack: Stack) -> str:
    """The id of a finished import with rejects."""
    found = re.search(r"→ run (\S+)", stack.run("-m", "examples.demo").stdout)
    assert found is not None
    return found[1]


def started(stack: Stack, arguments: str) -> str:
    """The id of a run of the kind ``keyed``."""
    return stack.run(
        "-c", f"from tasks import start_keyed; print(start_keyed.delay({arguments}).run_id)"
    ).stdout.strip()


def type_commands(stack: Stack, document: Path, **variables: str) -> None:
    """Run a document's shell blocks, one after another; none may fail."""
    environment = {
        **stack.environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **variables,
    }
    for block in blocks("sh", document):
        done = subprocess.run(
            ["sh", "-eux", "-c", runnable(block).replace("/tmp/", f"{stack.var}/")],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}:\n{done.stdout}"


def runnable(block: Block) -> str:
    """The block without the commands that cannot be run here."""
    lines = block.text.splitlines()
    return "\n".join(line for line in lines if not re.match(rf"make ({'|'.join(NOT_HERE)})\b", line))
