"""``var/stack.env``: the settings of the running stack, as ``KEY=value`` lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stack.secret_files import write_secret

_HEAD = "# Written by `make up`. Holds passwords. The environment wins over it.\n"


def read_env(path: Path) -> dict[str, str]:
    """The pairs of the file; ``{}`` where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Replace the file (mode 0600); raises `ValueError` for a value that a line cannot hold."""
    for key, value in values.items():
        if "\n" in value or value != value.strip():
            raise ValueError(f"{key} holds a line break or blanks at its ends, which {path} cannot")
    write_secret(path, _HEAD + "".join(f"{key}={value}\n" for key, value in values.items()))
