"""The merge of one record: a table of cases, and properties that hold for all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.sync.merge import Base, Merged, Policy, merge

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
FIELDS = ("a", "b", "c")
values = st.fixed_dictionaries(dict.fromkeys(FIELDS, st.sampled_from([None, 0, 1, "x"])))
policies = st.fixed_dictionaries(dict.fromkeys(FIELDS, st.sampled_from(list(Policy))))
times = st.sampled_from([None, EARLY, LATE])


def merged(base: Any, local: Any, remote: Any, policy: Any = "remote", **at: Any) -> Merged:
    both = base if isinstance(base, Base) else Base(base, base)
    of = (lambda name: Policy(policy[name])) if isinstance(policy, dict) else (lambda _: Policy(policy))
    return merge(local, both, local, remote, policy=of, **at)


@pytest.mark.parametrize(
    "base, local, remote, policy, to_local, to_remote",
    [
        (1, 1, 1, "remote", None, None),
        (1, 2, 1, "remote", None, 2),
        (1, 1, 2, "local", 2, None),
        (1, 2, 2, "manual", None, None),
        (1, 2, 3, "local", None, 2),
        (1, 2, 3, "remote", 3, None),
        (1, 2, 3, "manual", None, None),
        (1, None, 3, "local", None, None),
    ],
)
def test_a_field_goes_where_it_changed(
    base: Any, local: Any, remote: Any, policy: str, to_local: Any, to_remote: Any
) -> None:
    """One side changed: that side wins; both: the policy; neither: nothing."""
    found = merged({"f": base}, {"f": local}, {"f": remote}, policy)
    assert found.to_local.get("f") == to_local and found.to_remote.get("f") == to_remote


@pytest.mark.parametrize(
    "local_at, remote_at, winner",
    [
        (LATE, EARLY, "local"),
        (EARLY, LATE, "remote"),
        (LATE, LATE, "remote"),
        (None, LATE, "remote"),
        (LATE, None, "remote"),
    ],
)
def test_the_newest_wins(local_at: Any, remote_at: Any, winner: str) -> None:
    """By the two servers' own times; where one is not known, or both are the same: the API."""
    found = merged({"f": 1}, {"f": 2}, {"f": 3}, "newest", local_at=local_at, remote_at=remote_at)
    assert (found.to_remote == {"f": 2}) == (winner == "local")
    assert (found.to_local == {"f": 3}) == (winner == "remote")


def test_each_side_may_keep_a_value_in_its_own_form() -> None:
    """What the API made of our value is no change of either side."""
    base = Base({"f": " Big "}, {"f": "big"})
    found = merged(base, {"f": " Big "}, {"f": "big"})
    assert (found.to_local, found.to_remote, found.base) == ({}, {}, base)


@given(values, values, values, policies, times, times)
def test_a_second_merge_after_writing_finds_nothing(
    base: Any, local: Any, remote: Any, policy: Any, local_at: Any, remote_at: Any
) -> None:
    """Idempotent: once both writes are made, both sides agree, but for what waits for a person."""
    first = merged(base, local, remote, policy, local_at=local_at, remote_at=remote_at)
    local2, remote2 = {**local, **first.to_local}, {**remote, **first.to_remote}
    pushed = Base({**first.base.local, **first.to_remote}, {**first.base.remote, **first.to_remote})
    again = merged(pushed, local2, remote2, policy, local_at=local_at, remote_at=remote_at)
    assert (again.to_local, again.to_remote, again.losses) == ({}, {}, [])
    waiting = {clash.field for clash in first.clashes}
    assert {clash.field for clash in again.clashes} == waiting
    assert all(local2[name] == remote2[name] for name in FIELDS if name not in waiting)


@given(values, values, values, policies, times, times)
def test_what_is_still_to_be_pushed_is_a_local_change_against_the_new_base(
    base: Any, local: Any, remote: Any, policy: Any, local_at: Any, remote_at: Any
) -> None:
    """A push that knows only the link and the row does the rest of the merge."""
    first = merged(base, local, remote, policy, local_at=local_at, remote_at=remote_at)
    row = {**local, **first.to_local}
    behind = {n: row[n] for n in FIELDS if n in first.base.local and row[n] != first.base.local[n]}
    assert behind == first.to_remote


@given(values, values, values)
def test_edits_of_different_fields_commute(base: Any, local: Any, remote: Any) -> None:
    """Neither policy nor order matters where no field was changed on both sides."""
    for name in FIELDS:
        if local[name] != base[name]:
            remote[name] = base[name]
    results = set()
    for policy in Policy:
        found = merged(base, local, remote, policy.value, local_at=EARLY, remote_at=LATE)
        results.add(repr((sorted(found.to_local.items()), sorted(found.to_remote.items()))))
        assert not found.losses and not found.clashes
        swapped = merged(base, remote, local, policy.value, local_at=LATE, remote_at=EARLY)
        assert (swapped.to_local, swapped.to_remote) == (found.to_remote, found.to_local)
    assert len(results) == 1


@given(values, values, values, policies, times, times)
def test_nothing_is_lost_that_no_policy_decided(
    base: Any, local: Any, remote: Any, policy: Any, local_at: Any, remote_at: Any
) -> None:
    """Each value that a side had changed is kept, or is among the losses with what was kept instead, or waits."""
    found = merged(base, local, remote, policy, local_at=local_at, remote_at=remote_at)
    after_local, after_remote = {**local, **found.to_local}, {**remote, **found.to_remote}
    lost = {(loss.field, loss.loser.value): loss.lost for loss in found.losses}
    waiting = {clash.field for clash in found.clashes}
    for name in FIELDS:
        for side, mine in (("local", local), ("remote", remote)):
            if mine[name] == base[name] or name in waiting:
                continue
            kept = after_local[name] == mine[name] and after_remote[name] == mine[name]
            assert kept or lost.get((name, side), ...) == mine[name]
