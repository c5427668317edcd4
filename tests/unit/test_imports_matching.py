"""Which header goes to which column, and what is said where they do not go together."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.imports.errors import BadSource, BadTarget
from tasks.imports.matching import REJECT_COLUMNS, Match, match_columns
from tests.unit.imports_tables import column, table

PRODUCTS = table(
    column("id", "bigint(20)", nullable=False, auto_increment=True),
    column("sku", "varchar(20)", nullable=False, required=True),
    column("Name", "varchar(20)"),
    column("total", "int(11)", generated=True),
    uniques={"PRIMARY": ("id",), "uq_sku": ("sku",), "uq_two": ("sku", "Name")},
)


def match(header: list[str], **changes: Any) -> Match:
    given: dict[str, Any] = {"mapping": None, "key": ["sku"], "mode": "upsert"}
    return match_columns("/f.csv", header, PRODUCTS, **(given | changes))


def test_headers_go_to_the_columns_of_their_names() -> None:
    """In any order, and MySQL does not tell case in column names; what is written is the table's own spelling."""
    assert match(["NAME", "sku"]) == Match(2, (0, 1), ("Name", "sku"))


def test_a_mapping_renames_and_leaves_out() -> None:
    """What it does not name goes by its own name."""
    assert match(["Article", "x", "name"], mapping={"Article": "sku", "x": None}) == Match(3, (0, 2), ("sku", "Name"))


def test_the_columns_of_an_exported_reject_are_left_out() -> None:
    """So a corrected export is imported as it is."""
    assert match([*REJECT_COLUMNS, "sku"]) == Match(5, (4,), ("sku",))


def test_a_key_of_several_columns_needs_its_index_in_any_order() -> None:
    """The unique index must be exactly on the key's columns."""
    assert match(["sku", "Name"], key=["Name", "sku"]).columns == ("sku", "Name")
    with pytest.raises(BadTarget, match=r"uq_sku \(sku\)"):
        match(["sku", "Name"], key=["Name"])


def test_an_insert_needs_no_index() -> None:
    """Its key only orders the rows."""
    assert match(["sku", "Name"], key=["Name"], mode="insert")
    assert match(["sku"], key=[], mode="insert")


@pytest.mark.parametrize(
    ("header", "changes", "error", "words"),
    [
        (["sku", "sku"], {}, BadSource, "more than once"),
        (["sku", "SKU"], {}, BadSource, "two columns of the file go to the column sku"),
        (["sku", "naem"], {}, BadSource, "did you mean 'Name'"),
        (["sku", "color"], {}, BadSource, "mapping={'color': None}"),
        (["sku;name"], {}, BadSource, "is the delimiter ';'"),
        (["sku"], {"mapping": {"Sku": "sku"}}, BadSource, "mapping names 'Sku'"),
        (["a"], {"mapping": {"a": "skuu"}}, BadSource, "mapping sends 'a' to skuu.*did you mean 'sku'"),
        (["sku", "total"], {}, BadTarget, "generated"),
        (["Name"], {}, BadTarget, "nothing for sku"),
        (["a"], {"mapping": {"a": None}}, BadTarget, "no column"),
        (["sku"], {"key": ["skuu"]}, BadTarget, "did you mean 'sku'"),
        (["sku"], {"key": ["sku", "Name"]}, BadTarget, "Name is not in the file"),
        (["sku", "Name"], {"key": ["Name"], "mode": "insert", "mapping": {"Name": None}}, BadTarget, "not in the file"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_remedy(
    header: list[str], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    """Before any row is read."""
    with pytest.raises(error, match=words):
        match(header, **changes)


def test_a_header_of_a_hundred_thousand_columns_is_judged_at_once() -> None:
    """Hostile files must not cost more than time in proportion."""
    with pytest.raises(BadSource, match="not in t"):
        match([f"c{n}" for n in range(100_000)])


def test_an_index_on_a_prefix_is_no_key() -> None:
    """It takes two values that start alike for the same."""
    prefixed = table(column("a", "varchar(20)"))
    index = type(PRODUCTS.uniques[0])("uq_a", ("a",), whole=False)
    target = type(prefixed)("t", prefixed.columns, (index,), 2**24)
    with pytest.raises(BadTarget, match="there is: none"):
        match_columns("/f.csv", ["a"], target, mapping=None, key=["a"], mode="upsert")
