"""The tutorial on connectors is run by `test_docs_python`; here, that it shows the example as it stands."""

from __future__ import annotations

from typing import Any

import pytest

from tests.documents import PROJECT, blocks

TUTORIAL = PROJECT / "docs" / "sync-connectors.md"


def test_the_tutorial_shows_the_example_as_it_stands() -> None:
    """What is printed is what is tested and what can be imported."""
    example = (PROJECT / "examples" / "sync_items.py").read_text(encoding="utf-8")
    first = blocks("python", TUTORIAL)[0].text
    assert example.endswith(first)


@pytest.mark.parametrize("block", blocks("python", TUTORIAL), ids=str)
def test_the_blocks_run(block: Any) -> None:
    """Each can be pasted into a Python of its own; what they assert holds."""
    exec(compile(block.text, str(block), "exec"), {"__name__": "tutorial"})
