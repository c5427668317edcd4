"""The small rules of sending: retries, flights, scopes, arguments."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.email.arguments import campaign_arguments
from tasks.email.flight import FLIGHT_S, Flight
from tasks.email.report import eta_s
from tasks.email.retries import Retries, next_job_in_s
from tasks.email.suppressions import checked_scope, scopes_of
from tasks.errors import BadArguments

MINIMAL: dict[str, Any] = {
    "template": {"text": "x"},
    "subject": "s",
    "recipients": ["ann@example.com"],
    "sender": "n@sender.example.com",
}


def test_each_wait_is_twice_the_one_before_up_to_six_hours() -> None:
    """With up to a tenth of chance on top."""
    retries = Retries(max_attempts=8, retry_s=300)
    for tried, at_least in [(1, 300), (2, 600), (3, 1200), (7, 19200), (9, 21600), (99, 21600)]:
        assert at_least <= retries.due_in_s(tried) <= at_least * 1.1
    assert [retries.exhausted(n) for n in (7, 8)] == [False, True]


@pytest.mark.parametrize(
    ("due", "expected"),
    [([], None), ([10.0], 10.0), ([300.0, 310.0, 330.0, 600.0], 330.0), ([0.0, 400.0], 0.0), ([1.0, 1.9, 9.0], 1.9)],
)
def test_those_due_soon_after_the_first_come_with_it(due: list[float], expected: float | None) -> None:
    """One job for those that were deferred together, another for those that wait longer."""
    assert next_job_in_s(due) == expected


def test_a_flight_grows_with_speed_and_shrinks_to_one_with_a_limit() -> None:
    """Twice as many at most each time, never more than allowed, one where each message waits for its slot."""
    flight = Flight(20)
    sizes = []
    for _ in range(6):
        sizes.append(flight.size)
        flight.took(0.001 * flight.size, flight.size)
    assert sizes == [1, 2, 4, 8, 16, 20]
    flight.took(20 / 14, 20)
    assert flight.size == 1
    flight.took(FLIGHT_S / 2, 1)
    assert flight.size == 2
    assert Flight(1, size=20).size == 1


def test_the_strictest_limit_says_how_long_the_rest_takes() -> None:
    """None without a limit."""
    assert eta_s(28, ["14/s"]) == 2
    assert eta_s(100, ["14/s", "50/min", "100/2h"]) == 7200
    assert eta_s(100, []) is None


def test_scopes_of_a_campaign() -> None:
    """Everywhere, its provider, itself, and its list."""
    assert scopes_of(campaign="news", provider="main", list_scope="list:weekly") == [
        "global",
        "provider:main",
        "campaign:news",
        "list:weekly",
    ]
    assert len(scopes_of(campaign="news", provider="main", list_scope="global")) == 3


@pytest.mark.parametrize("scope", ["", "Global", "list:", "list: x", "user:ann", "list:" + "x" * 101])
def test_a_scope_that_is_none_is_refused(scope: str) -> None:
    """A typing error would suppress nobody."""
    with pytest.raises(ValueError, match="global, provider:NAME"):
        checked_scope(scope)


def test_arguments_given_again_are_unchanged() -> None:
    """A replay passes what the start recorded."""
    first = campaign_arguments("news", **MINIMAL, domain_rates={"Gmail.com, googlemail.com": "5/s", "*": ["2/s"]})
    assert first["domain_rates"] == {"gmail.com,googlemail.com": ["5/s"], "*": ["2/s"]}
    assert first["rates"] == ["14/s", "50000/day"]
    assert campaign_arguments(**first) == first
    again = campaign_arguments("news", **{**MINIMAL, "recipients": {"ledger": "resend"}})
    assert campaign_arguments(**again) == again


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name="),
        ({"name": "x" * 101}, "name="),
        ({"name": "a\nb"}, "name="),
        ({"provider": "Main"}, "provider="),
        ({"rates": ["fast"]}, "14/s"),
        ({"rates": [14]}, "14/s"),
        ({"rates": ["0/s"]}, "rates"),
        ({"domain_rates": ["5/s"]}, "domain_rates"),
        ({"domain_rates": {"a.com": "5/s", "A.com": "6/s"}}, "each domain once"),
        ({"domain_rates": {"a.com,*": "5/s"}}, "alone"),
        ({"in_doubt": "drop"}, "hold, resend"),
        ({"dry_run": 1}, "True or False"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"retry_s": 0}, "retry_s"),
        ({"batch_size": 1001}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"max_in_flight": 0}, "max_in_flight"),
    ],
)
def test_wrong_arguments_raise_at_once_and_say_what_to_give(wrong: dict[str, Any], said: str) -> None:
    """Nothing is recorded."""
    with pytest.raises(BadArguments, match=said.replace("*", r"\*")):
        campaign_arguments(**{"name": "news", **MINIMAL, **wrong})
