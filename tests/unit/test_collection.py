"""The tests' own names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
def test_tests_have_the_same_names_in_every_process(request: pytest.FixtureRequest) -> None:
    """A name made of a clock, a hash seed or a random number would keep parallel test processes from starting."""
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    elsewhere = set(collected.stdout.splitlines())
    assert [item.nodeid for item in request.session.items if item.nodeid not in elsewhere] == []
