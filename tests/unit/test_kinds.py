"""Declaring a kind of job: what is wrong is said at once, with how to mend it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from runstate.statuses import ACTIVE, ENDED, JOB_TRANSITIONS, RUN_TRANSITIONS, JobState, RunStatus
from tasks import registry
from tasks.errors import Snooze
from tasks.kinds import Backoff, JobKind


def kind(**changes: Any) -> JobKind:
    """A kind with these changes."""
    settings: dict[str, Any] = {"name": "k", "queue": "q", "plan": lambda _a: (), "perform": lambda _w: None}
    return JobKind(**(settings | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "With Space"}, "lower-case"),
        ({"name": ""}, "lower-case"),
        ({"queue": "a-b"}, "lower-case"),
        ({"window": 0}, "between 1 and"),
        ({"window": 100_000}, "between 1 and"),
        ({"lease_s": 1}, "at least 3 s"),
        ({"timeout_s": 0}, "start at 1"),
        ({"max_crashes": 0}, "start at 1"),
    ],
)
def test_impossible_numbers_and_names_are_refused(changes: dict[str, Any], says: str) -> None:
    """A kind that could not work is refused when it is declared."""
    with pytest.raises(ValueError, match=says):
        kind(**changes)


def test_a_kind_needs_two_functions_and_the_error_shows_an_example() -> None:
    """The message holds something to copy."""
    with pytest.raises(TypeError, match="def perform"):
        kind(perform=None)


@pytest.mark.parametrize("numbers", [{"max_attempts": 0}, {"base_s": 5, "cap_s": 1}, {"base_s": -1}])
def test_impossible_backoffs_are_refused(numbers: dict[str, Any]) -> None:
    """At least one attempt, and a cap above the base."""
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(**numbers)


def test_a_kind_without_admission_key_has_no_exclusivity() -> None:
    """None: nothing is refused."""
    assert kind().key_of({"a": 1}) is None
    assert kind(admission_key=lambda args: args["a"]).key_of({"a": "x"}) == "x"


def test_snooze_takes_a_delay_or_a_time() -> None:
    """One of the two."""
    with pytest.raises(ValueError, match="one of the two"):
        Snooze()


def test_every_status_is_active_ended_or_requested_and_reachable() -> None:
    """No status is an island, and nothing leaves an ended one."""
    assert set(RunStatus) == {RunStatus.REQUESTED, *ACTIVE, *ENDED}
    targets = {target for _, target in RUN_TRANSITIONS}
    assert targets == set(RunStatus) - {RunStatus.REQUESTED}
    assert not {source for source, _ in RUN_TRANSITIONS} & set(ENDED)
    assert {target for _, target in JOB_TRANSITIONS} == set(JobState)
    assert all(sentence.endswith(".") for sentence in (*RUN_TRANSITIONS.values(), *JOB_TRANSITIONS.values()))


def test_a_kind_may_name_its_start_and_a_copy_under_another_name_gets_its_own() -> None:
    """``start_<name>`` unless told otherwise."""
    assert kind(name="a").starts_as == "start_a"
    assert kind(name="a", start_name="process_a").starts_as == "process_a"
    assert replace(kind(name="a"), name="b").starts_as == "start_b"


def test_two_kinds_cannot_be_started_by_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer would start the one and get the other."""
    monkeypatch.setattr(registry, "BUILT_IN", ("tests.unit.test_kinds:FIRST", "tests.unit.test_kinds:SECOND"))
    monkeypatch.setattr(registry, "settings", lambda: SimpleNamespace(extra_kinds=()))
    with pytest.raises(ValueError, match="started by 'go'"):
        registry.kinds.__wrapped__()


FIRST, SECOND = kind(name="first", start_name="go"), kind(name="second", start_name="go")
