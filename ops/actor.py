"""Who acts and why, as every command that changes something asks it."""

from __future__ import annotations

import argparse
import getpass
import os
import socket

from ops.errors import UsageError
from runstate.audit import Actor


def add_actor(parser: argparse.ArgumentParser) -> None:
    """Give a parser ``--actor``, ``--reason`` and ``--dry-run``."""
    parser.add_argument("--reason", help="why; it stands in the audit log (needed unless --dry-run)")
    parser.add_argument("--actor", default=default_actor(), help="who (default: $HOLDFAST_ACTOR, else %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and change nothing")


def default_actor() -> str:
    """``HOLDFAST_ACTOR``, else the user of this process at this host."""
    return os.environ.get("HOLDFAST_ACTOR") or f"{getpass.getuser()}@{socket.gethostname()}"


def actor_of(options: argparse.Namespace) -> Actor:
    """Who acts and why.  Raises `UsageError` without a reason."""
    if not (options.reason or "").strip():
        raise UsageError('say why: --reason "…" (it stands in the audit log)')
    return Actor(options.actor, options.reason)
