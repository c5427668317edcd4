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

# Each has tests of its own, and none can be run from within a test: `make test` would run this one, `make down` would stop the
# stack that it runs on, `make logs` never ends.  That they are targets is a unit test.
NOT_HERE = ("test", "down", "logs")
WITH_COMMANDS = [document for document in DOCUMENTS if blocks("sh", document)]


@pytest.mark.stack(HOLDFAST_IMPORTS_PROCESSES="2", HOLDFAST_FLOWERS="1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda document: document.name)
def test_every_command_works(stack: Stack, document: Path) -> None:
    """Whoever types the commands of a document, from top to bottom, sees none of them fail."""
    demo = stack.run("-m", "examples.demo").stdout
    found = re.search(r"→ run (\S+)", demo)
    assert found is not None
    environment = {
        **stack.environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RUN_ID": found[1],
    }
    for block in blocks("sh", document):
        done = subprocess.run(
            ["sh", "-eux", "-c", runnable(block)],
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
