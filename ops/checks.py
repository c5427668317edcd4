"""A check and its verdict, as ``health`` and ``check`` print them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ops import exits
from ops.output import Output

Level = Literal["ok", "warn", "fail"]
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, and what to do unless it is ``ok``."""

    name: str
    level: Level
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Check:
    """Nothing to do."""
    return Check(name, "ok", found)


def warn(name: str, found: str, advice: str) -> Check:
    """It works, but somebody should look at it."""
    return Check(name, "warn", found, advice)


def fail(name: str, found: str, advice: str) -> Check:
    """It does not work, or breaks a promise."""
    return Check(name, "fail", found, advice)


def judge(name: str, found: str, *, good: bool, advice: str, level: Level = "fail") -> Check:
    """``ok`` if ``good``, else ``level`` with the advice."""
    return ok(name, found) if good else Check(name, level, found, advice)


def attempt(name: str, look: Callable[[], Check], advice: str, errors: tuple[type[Exception], ...]) -> Check:
    """What ``look`` says, or that it could not look."""
    try:
        return look()
    except errors as error:
        return fail(name, str(error), advice)


def report(checks: Sequence[Check], output: Output, *, strict: bool) -> int:
    """Print the checks; 1 if one failed, or with ``strict`` warned."""
    worst: Level = max((check.level for check in checks), key=("ok", "warn", "fail").index, default="ok")
    if output.as_json:
        output.document({"level": worst, "checks": checks})
    else:
        for check in checks:
            output.say(f"{check.level:<5} {check.name}: {check.found}", _STYLES[check.level])
            if check.advice:
                output.say(f"      {check.advice}")
    return exits.TROUBLE if worst == "fail" or (strict and worst == "warn") else exits.OK
