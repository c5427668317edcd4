"""The journal that the convergence tests judge by finds what it is there to find."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sync_journal import Edit, Journal, decided_in

POLICIES = {"price": "newest", "stock": "local"}
MADE = Edit("local", "L1", {"price": "1.00", "stock": 1}, None)
FIRST = {"price": "1.00", "stock": 1}


def lost(side: str, before: int, after: int) -> tuple[str, str, str, str]:
    return side, "lost", json.dumps({"stock": before}), json.dumps({"stock": after})


def wrote(stock: int) -> tuple[str, str, None, str]:
    return "remote", "update", None, json.dumps({"stock": stock})


@pytest.mark.parametrize(
    "edits, audit, final, problem",
    [
        ([], [], FIRST, None),
        ([], [], None, "nobody decided"),
        ([], [], {"price": "1.00", "stock": 9}, "nobody wrote"),
        ([Edit("local", "L1", {"stock": 2}, FIRST)], [], {**FIRST, "stock": 2}, None),
        ([Edit("local", "L1", {"stock": 2}, FIRST)], [], FIRST, "stock=2 is lost"),
        ([Edit("local", "L1", {"stock": 2}, FIRST)], [lost("remote", 2, 1)], FIRST, None),
        ([Edit("local", "L1", {"stock": 2}, FIRST)], [wrote(1), lost("remote", 2, 1)], FIRST, "had seen 1"),
        (
            [Edit("remote", "L1", {"stock": 2}, FIRST), Edit("local", "L1", {"stock": 3}, FIRST)],
            [lost("local", 3, 2)],
            {**FIRST, "stock": 2},
            "against the policy",
        ),
        ([Edit("local", "L1", {}, FIRST)], [], None, None),
        ([Edit("local", "L1", {}, FIRST)], [], FIRST, "there again"),
        (
            [Edit("local", "L1", {}, FIRST), Edit("remote", "L1", {"stock": 2}, FIRST)],
            [],
            {**FIRST, "stock": 2},
            None,
        ),
        ([Edit("local", "L1", {}, FIRST), Edit("remote", "L1", {"stock": 2}, FIRST)], [], None, "stock=2 is lost"),
    ],
)
def test_every_value_has_a_fate(
    edits: list[Edit], audit: list[Any], final: dict[str, Any] | None, problem: str | None
) -> None:
    """What is there, what somebody wrote over, and what a policy decided is well; the rest is named."""
    state = {} if final is None else {"L1": final}
    _, problems = Journal([MADE, *edits]).fates(state, decided_in(audit), policies=POLICIES)
    assert (problems == []) if problem is None else any(problem in found for found in problems), problems
