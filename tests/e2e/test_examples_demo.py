"""The demo, as a user sees it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.catalogue import ROWS, bad_rows
from stack.layout import PROJECT
from tests.e2e.harness import Stack


def counts(output: str) -> dict[str, int]:
    return {word: int(number.replace(",", "")) for number, word in re.findall(r"^ +([\d,]+) ([a-z]+)$", output, re.M)}


@pytest.mark.stack(HOLDFAST_IMPORTS_PROCESSES="2", HOLDFAST_FLOWERS="1")
def test_the_demo_imports_once_and_says_so(stack: Stack) -> None:
    """The first demo inserts every good row and shows the refusal of a second start; the second changes nothing."""
    first = stack.run("-m", "examples.demo").stdout
    run_id = re.search(r"→ run (\S+)", first)
    assert run_id is not None
    assert f"a second start was refused: already running: run {run_id[1]}" in first
    assert counts(first) == {"inserted": ROWS, "updated": 0, "unchanged": 0, "rejected": len(bad_rows())}
    assert "line 3,363, price: not_a_number" in first
    assert stack.plan.settings["FLOWER_URL"] in first
    assert stack.plan.settings["FLOWER_PASSWORD"] not in first
    assert "(mode 0600)" in first
    assert first.count(" -m ops ") == 3
    second = stack.run("-m", "examples.demo").stdout
    assert counts(second) == {"inserted": 0, "updated": 0, "unchanged": ROWS, "rejected": len(bad_rows())}
    assert "nothing changed" in second


def test_the_demo_fails_honestly(stack: Stack, tmp_path: Path) -> None:
    """A file that the workers may not read fails the run: the demo says why and exits with 1."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=PROJECT,
        env={**stack.environment, "IMPORT_ROOTS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "outside the allowed roots" in done.stdout
