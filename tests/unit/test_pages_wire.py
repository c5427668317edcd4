"""What Flowers tell each other: values come back as they were, and nothing else can be made of what stands in Redis."""

from __future__ import annotations

import http  # noqa: F401  (loaded, and yet not ours)
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.checks import Check
from ops.pages.wire import NotSent, pack, unpack
from runstate.overview import Minute, Waiting
from runstate.statuses import RunStatus

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
OURS = (
    st.datetimes()
    | st.timedeltas(timedelta(-9999), timedelta(9999))
    | st.sampled_from(RunStatus)
    | st.builds(Check, st.text(), st.sampled_from(["ok", "warn", "fail"]), st.text(), st.text())
    | st.builds(Minute, st.datetimes(), st.integers(), st.integers(), st.integers())
)
VALUES = st.recursive(
    PLAIN | OURS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.sampled_from(RunStatus), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_sent_comes_back_as_it_was(value: Any) -> None:
    """Types included, through real JSON."""
    back = unpack(json.loads(json.dumps(pack(value))))
    assert (type(back), back) == (type(value), value)


def test_a_dict_that_looks_like_the_wire_is_a_dict() -> None:
    """Payloads are other people's: they cannot pose as values of ours."""
    looks: list[dict[str, Any]] = [
        {"object": "ops.checks:Check", "fields": {}},
        {"enum": "x:Y", "value": 1},
        {"map": []},
        {"at": "x"},
    ]
    for payload in looks:
        assert unpack(pack(payload)) == payload


@pytest.mark.parametrize(
    "sent",
    [
        {"object": "subprocess:Popen", "fields": {"args": ["true"]}},
        {"object": "ops.cli:main", "fields": {}},
        {"object": "ops.checks:Output", "fields": {}},
        {"object": "ops.pages.wire:dataclasses.Field", "fields": {}},
        {"object": "tasks.clients:os", "fields": {}},
        {"enum": "http:HTTPStatus", "value": 200},
        {"enum": "runstate.statuses:RunStatus", "value": "on fire"},
        {"object": "ops.checks:Check", "fields": {"name": "n", "new_field": 1}},
        {"at": "tomorrow"},
        {"decimal": "x"},
        {"surprise": 1},
        {},
    ],
    ids=str,
)
def test_nothing_but_values_of_ours_is_made(sent: Any) -> None:
    """Neither other people's classes nor functions; what another version wrote is told from what this one knows."""
    with pytest.raises(NotSent):
        unpack(sent)


def test_what_has_no_form_is_told() -> None:
    """A new type in a page's answer is found by its test, not by a crash in Redis."""
    assert unpack(pack(Decimal("1.50"))) == Decimal("1.50")
    assert unpack(pack(Waiting("k", 1, 0, None, 5, 0, 0, 1.5, "r"))) == Waiting("k", 1, 0, None, 5, 0, 0, 1.5, "r")
    for value in (object(), {1, 2}, lambda: 1, Check):
        with pytest.raises(NotSent, match="cannot be sent"):
            pack(value)
