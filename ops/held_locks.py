"""``ops locks``: the locks that are held in Redis now."""

from __future__ import annotations

import argparse

from locks import list_locks
from ops import exits
from ops.output import Output, duration
from ops.parsers import Commands
from tasks import clients


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``locks``."""
    parser = commands.add_parser("locks", parents=[common], help="the locks that are held now, by whom, for how long")
    parser.set_defaults(run=show_locks)


def show_locks(_: argparse.Namespace, output: Output) -> int:
    """Print every lock, the oldest first."""
    held = list_locks(clients.redis())
    if output.as_json:
        output.document(held)
        return exits.OK
    output.table(
        ("LOCK", "OWNER", "HELD FOR>", "FREE WITHIN>", "TOKEN"),
        [
            (
                lock.holder.name,
                lock.holder.owner,
                duration(lock.age_s),
                duration(lock.holder.ttl_s) or "never",
                lock.holder.token[:8],
            )
            for lock in held
        ],
    )
    return exits.OK
