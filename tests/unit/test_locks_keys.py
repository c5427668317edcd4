"""Lock keys: one name, one key."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locks import BadLockName, lock_key
from locks.keys import canonical_json, keys_of

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def told_apart(value: Any) -> Any:
    """``value`` with types spelt out, because Python holds True == 1."""
    match value:
        case dict():
            return {key: told_apart(item) for key, item in value.items()}
        case list():
            return [told_apart(item) for item in value]
        case _:
            return (type(value).__name__, value)


@given(names, names)
def test_two_names_share_a_key_only_if_they_are_the_same_json(left: Any, right: Any) -> None:
    """Different names never share a key, equal names always do."""
    assert (lock_key(left) == lock_key(right)) == (told_apart(left) == told_apart(right))


@given(st.dictionaries(text, st.integers(), min_size=2, max_size=6))
def test_the_order_of_an_objects_keys_does_not_matter(name: dict[str, int]) -> None:
    """An object built in another order has the same key."""
    assert lock_key(name) == lock_key(dict(reversed(name.items())))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["a:b", "c"], ["a", "b:c"]),
        (["ab", "c"], ["a", "bc"]),
        ([1], ["1"]),
        ([True], [1]),
        ([None], ["null"]),
        ([], {}),
        ("1", 1),
        ("", None),
        (["\u00e9"], ["e\u0301"]),
    ],
)
def test_names_that_joined_strings_would_confuse_have_different_keys(left: Any, right: Any) -> None:
    """Names that look alike when joined or printed are told apart."""
    assert lock_key(left) != lock_key(right)


def test_a_tuple_is_an_array() -> None:
    """Tuples and lists of the same items name the same lock, as JSON has only arrays."""
    assert lock_key(("imports", "flights")) == lock_key(["imports", "flights"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (1.0, "floats have no single spelling"),
        ([1, {"x": math.nan}], r"name\[1\]\['x'\] = nan"),
        ({1: 0}, "write '1'"),
        ({"k": {None: 0}}, r"name\['k'\] has the key None"),
        (b"x", "decode it to a string"),
        ({"a", "b"}, "is a set"),
        (object(), "is a object"),
        ("\ud83d\ude00", "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
    ],
)
def test_what_is_not_unambiguous_json_is_refused_with_the_place_and_the_cure(name: Any, said: str) -> None:
    """A name that JSON would bend or leave ambiguous raises, saying where and what to write instead."""
    with pytest.raises(BadLockName, match=said):
        lock_key(name)


def test_a_name_that_contains_itself_is_refused() -> None:
    """A name that never ends raises instead of overflowing the stack."""
    name: list[Any] = []
    name.append(name)
    with pytest.raises(BadLockName, match="contains itself"):
        lock_key(name)


def test_keys_stay_as_they_are_between_releases() -> None:
    """The key is part of the protocol between versions: old and new workers must mean the same lock."""
    assert canonical_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'
    digest = "a609ee62dee364680af5356fd4b993b2746c53893720e902a4a7f28179c371bc"
    assert lock_key(["imports", "flights"]) == f"holdfast:lock:{digest}"
    assert keys_of('["imports","flights"]') == (f"holdfast:lock:{digest}", f"holdfast:wake:{digest}")
