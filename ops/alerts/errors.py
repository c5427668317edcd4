"""What can go wrong with a notice."""

from __future__ import annotations


class NotDelivered(Exception):
    """A channel did not take a notice; it is tried again later."""
