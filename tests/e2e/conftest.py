"""The fixture `stack`: real workers under a real Supervisor; see tests/e2e/harness.py for what a test can do with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.private import Servers
from tests.e2e.harness import Stack

_running: list[Stack] = []


# Not the session's: workers and dispatchers that live on would take up what integration tests put into the tables.
@pytest.fixture(scope="package")
def session_stack(
    servers: Servers, schema: frozenset[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The programs of all end-to-end tests; tests use `stack`."""
    stack = Stack(servers, schema, tmp_path_factory.mktemp("stack"))
    _running.append(stack)
    try:
        yield stack
    finally:
        stack.end()
        _running.remove(stack)


@pytest.fixture
def stack(session_stack: Stack, request: pytest.FixtureRequest) -> Stack:
    """Servers empty, one control worker, two import workers, two dispatchers, all consuming.

    Other numbers and settings: ``@pytest.mark.stack(HOLDFAST_IMPORTS_CONCURRENCY="2", ...)``.
    """
    marker = request.node.get_closest_marker("stack")
    session_stack.begin(marker.kwargs if marker else {})
    return session_stack


@pytest.fixture
def stack_var(session_stack: Stack) -> Path:
    """The ``var`` directory of the stack."""
    return session_stack.var


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure shows the end of every log."""
    report = yield
    if report.failed and "stack" in getattr(item, "fixturenames", ()):  # type: ignore[attr-defined]
        for stack in _running:
            report.sections.append(("logs of the stack", stack.tails()))  # type: ignore[attr-defined]
    return report
