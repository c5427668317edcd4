"""What the commands' parsers share."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
else:
    Commands = object

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def positive(text: str) -> int:
    """A whole number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


def seconds(text: str) -> float:
    """Seconds above zero, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above zero")
    return number


def rate(text: str) -> float:
    """How many a second, above zero, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above zero")
    return number


def ago(text: str) -> timedelta:
    """How long ago, for argparse: ``90s``, ``15m``, ``24h``, ``7d``."""
    unit = _UNITS.get(text[-1:])
    if unit is None or not text[:-1].isdecimal() or not int(text[:-1]):
        raise argparse.ArgumentTypeError(f"{text}: say how long, as 90s, 15m, 24h or 7d")
    return timedelta(**{unit: int(text[:-1])})
