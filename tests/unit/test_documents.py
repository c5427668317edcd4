"""JSON as it stands in the tables, and names made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstate import documents
from runstate.dead_letters import fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_goes_in_comes_out(value: object) -> None:
    """dump and load are inverse."""
    assert documents.load(documents.dump(value)) == value


@given(st.dictionaries(st.text(), st.integers()))
def test_equal_values_are_equal_texts(value: dict[str, int]) -> None:
    """The order of keys does not matter."""
    assert documents.dump(value) == documents.dump(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1, 2}])
def test_what_json_has_not_is_an_error(value: object) -> None:
    """Nothing is written as something else."""
    with pytest.raises((TypeError, ValueError)):
        documents.dump(value)


@given(st.text(), st.text(), st.text(), st.text())
def test_two_keys_never_share_a_hash_by_joining(kind: str, key: str, other_kind: str, other_key: str) -> None:
    """('a', 'bc') and ('ab', 'c') are different keys."""
    same = (kind, key) == (other_kind, other_key)
    assert (documents.admission_hash(kind, key) == documents.admission_hash(other_kind, other_key)) == same


@given(st.text(max_size=9000), st.integers(100, 5000))
def test_long_texts_keep_both_ends(text: str, limit: int) -> None:
    """Capped texts are not longer than allowed, short ones untouched."""
    capped = documents.capped(text, limit)
    assert capped is not None
    assert capped == text or (len(capped) <= limit and capped[:10] == text[:10] and capped[-5:] == text[-5:])


def test_fingerprints_see_the_trouble_and_not_its_numbers() -> None:
    """Ids, numbers and quoted names are left out; class and shape are not."""
    one = fingerprint("k", "E", "row 17 of 'a.csv' at 0a1b2c3d4e is bad")
    assert one == fingerprint("k", "E", "row 99 of 'b.csv' at ffffffff00 is bad")
    assert one != fingerprint("k", "E", "row 17 of 'a.csv' is good")
    assert one != fingerprint("k", "F", "row 17 of 'a.csv' at 0a1b2c3d4e is bad")
