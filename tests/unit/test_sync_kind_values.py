"""Values in the one form that both sides are compared in, and declarations that cannot be right."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Column
from sqlalchemy.dialects import mysql

from tasks.sync.connections import SyncKind
from tasks.sync.errors import BadConnection, BadTable, Unfit
from tasks.sync.values import fitter
from tests.sync_api import API

DATETIME0, DATETIME6 = mysql.DATETIME(), mysql.DATETIME(fsp=6)


@pytest.mark.parametrize(
    "kind, value, kept",
    [
        (mysql.INTEGER(), "7", 7),
        (mysql.TINYINT(1), True, 1),
        (mysql.BIGINT(unsigned=True), 2**64 - 1, 2**64 - 1),
        (mysql.DECIMAL(8, 2), 12.5, "12.50"),
        (mysql.DECIMAL(8, 2), Decimal("12.5"), "12.50"),
        (mysql.DECIMAL(8, 2), "-0", "0.00"),
        (mysql.DOUBLE(), "1.5", 1.5),
        (mysql.VARCHAR(3), "abc", "abc"),
        (mysql.CHAR(5), "ab  ", "ab"),
        (mysql.DATE(), date(2026, 1, 2), "2026-01-02"),
        (DATETIME0, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        (DATETIME0, datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T02:00:00"),
        (DATETIME6, datetime(2026, 1, 2, 3, 4, 5, 7, tzinfo=UTC), "2026-01-02T03:04:05.000007"),
        (mysql.JSON(), '{"a": 1}', {"a": 1}),
    ],
)
def test_a_value_has_one_form(kind: Any, value: Any, kept: Any) -> None:
    """From the record, from the driver, and from itself again."""
    fit = fitter(Column("c", kind))
    assert fit(value) == kept
    assert fit(fit(value)) == kept or isinstance(kept, dict)


@pytest.mark.parametrize(
    "kind, value, code",
    [
        (mysql.INTEGER(), "7.5", "not_an_integer"),
        (mysql.TINYINT(), 128, "out_of_range"),
        (mysql.INTEGER(unsigned=True), -1, "out_of_range"),
        (mysql.DECIMAL(8, 2), "1.005", "too_precise"),
        (mysql.DECIMAL(4, 2), "100", "out_of_range"),
        (mysql.DECIMAL(4, 2), "many", "not_a_number"),
        (mysql.DOUBLE(), "nan", "not_a_number"),
        (mysql.VARCHAR(3), "abcd", "too_long"),
        (mysql.VARCHAR(3), 7, "not_a_text"),
        (mysql.VARCHAR(3), "\ud800", "bad_character"),
        (mysql.DATE(), "soon", "not_a_date"),
        (DATETIME0, "2026-01-02T03:04:05.5", "too_precise"),
        (DATETIME0, "soon", "not_a_time"),
    ],
)
def test_what_a_column_cannot_keep_exactly_is_refused(kind: Any, value: Any, code: str) -> None:
    """Nothing is rounded, cut or replaced."""
    with pytest.raises(Unfit) as error:
        fitter(Column("c", kind))(value)
    assert error.value.code == code and error.value.column == "c"


def test_a_missing_value_needs_a_column_that_may_lack_it() -> None:
    """NOT NULL without a default."""
    with pytest.raises(Unfit, match="NOT NULL"):
        fitter(Column("c", mysql.INTEGER(), nullable=False))(None)
    assert fitter(Column("c", mysql.INTEGER()))(None) is None


def test_columns_that_json_cannot_carry_are_refused() -> None:
    """When the table is read, not when a record comes."""
    with pytest.raises(BadTable, match="c is BLOB"):
        fitter(Column("c", mysql.BLOB()))


@pytest.mark.parametrize(
    "wrong, word",
    [
        ({"name": "No Name"}, "lower-case"),
        ({"columns": ()}, "columns"),
        ({"policy": "oldest"}, "oldest"),
        ({"policies": {"x": "local"}}, "x"),
        ({"policy": "newest"}, "changed_at"),
        ({"max_delete_share": 2.0}, "max_delete_share"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused(wrong: dict[str, Any], word: str) -> None:
    """At once, with what to change."""
    right: dict[str, Any] = {"name": "items", "table": "items", "key": "id", "columns": ("name",), "policy": "remote"}
    with pytest.raises(BadConnection, match=word):
        SyncKind(connector=lambda _: API, **(right | wrong))
