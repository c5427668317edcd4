"""The blocks of the documents, as far as they can be checked without services; the rest is integration and e2e."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tasks.schedules import load_schedules
from tests.documents import DOCUMENTS, PROJECT, Block, blocks


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    """Every example is Python."""
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_make_targets_exist(block: Block) -> None:
    """Every `make` in a block is a target of the Makefile."""
    for target in re.findall(r"\bmake ([a-z]+)", block.text):
        done = subprocess.run(["make", "-n", target], cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_schedules_can_be_loaded(block: Block, tmp_path: Path) -> None:
    """Every TOML block is a file of schedules that beat takes."""
    file = tmp_path / "schedules.toml"
    file.write_text(block.text, encoding="utf-8")
    assert load_schedules(file)


def test_every_fence_names_its_language() -> None:
    """A block is `sh`, `python` or `toml`, and tried; or it has no language, and is a picture or an output."""
    for document in DOCUMENTS:
        fences = re.findall(r"^```(\w*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(fences) <= {"", "sh", "python", "toml"}
        assert len(fences) % 2 == 0
