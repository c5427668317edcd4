"""The Python of the documents, run as it stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from examples.catalogue import CREATE_TABLE
from runstate.statuses import RunStatus
from tasks.kinds import JobKind
from tests.documents import PROJECT, Block, blocks
from tests.integration.machinery import execute, planned, query, run_of, work_off

pytestmark = pytest.mark.usefixtures("machinery")


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_examples_run(block: Block) -> None:
    """Each block can be pasted into a Python of its own."""
    run(block)


def test_the_kind_of_the_readme_does_what_it_says() -> None:
    """The kind that the README adds runs to its end, once per key, and its effects are there."""
    (kind,) = [
        value
        for block in blocks("python", PROJECT / "README.md")
        if "JobKind(" in block.text
        for value in run(block).values()
        if isinstance(value, JobKind)
    ]
    execute(CREATE_TABLE)
    execute("CREATE TABLE stock_values (category VARCHAR(20) PRIMARY KEY, value DECIMAL(20,2))")
    execute(
        "INSERT INTO demo_products (sku, name, category, price, stock, updated_at) VALUES"
        " ('1', 'Hammer', 'tools', 9.90, 2, NOW()), ('2', 'Saw', 'tools', 20, 1, NOW()), ('3', 'Doll', 'toys', 5, 3, NOW())"
    )
    run_id = planned(kind, categories=["tools", "toys"])
    work_off(kind, run_id)
    assert run_of(run_id).status is RunStatus.COMPLETED
    assert query("SELECT category, value FROM stock_values ORDER BY category") == [
        ("tools", Decimal("39.80")),
        ("toys", Decimal("15.00")),
    ]


def run(block: Block) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(block.text, str(block), "exec"), namespace)
    return namespace
