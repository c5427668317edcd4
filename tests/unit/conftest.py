"""What several files of unit tests share, made once a session."""

from __future__ import annotations

from tests.unit.images_fixtures import engine, lab, make, samples

__all__ = ["engine", "lab", "make", "samples"]
