"""``ops purge``: forget what ended long ago, now, with a progress line; the same as beat has done each night."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from rich.console import Console

from ops import exits
from ops.actor import actor_of, add_actor
from ops.output import Output
from ops.parsers import Commands
from runstate import audit
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import BadArguments
from tasks.retention import batches, count_old, keep_policy, parts

_DAYS = {
    "runs_days": "runs that completed, were cancelled or refused",
    "failed_days": "runs that failed",
    "letters_days": "dead letters that were replayed or discarded",
    "audit_days": "entries of the audit log",
}


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the command."""
    parser = commands.add_parser("purge", parents=[common], help="forget what ended long ago")
    for name, what in _DAYS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_days,
            metavar="N",
            help=f"keep {what} for N days (default: the settings')",
        )
    add_actor(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, output: Output) -> int:
    """Say what would go, or let it go."""
    keep = keep_policy({name: getattr(options, name) for name in _DAYS})
    old = in_transaction(clients.engine(), lambda c: count_old(c, keep))
    if options.dry_run:
        if output.as_json:
            output.document({"dry_run": old, "keep": keep})
        else:
            output.say("would forget " + ", ".join(f"{count} {name}" for name, count in old.items()))
        return exits.OK
    actor = actor_of(options)
    # Before the first row goes: whoever is interrupted has said why all the same.
    in_transaction(clients.engine(), lambda c: audit.write(c, actor, "purge", "retention", old, keep.values()))
    forgotten = dict.fromkeys(parts(), 0)
    shown = Console(stderr=True)
    with shown.status("…") if shown.is_terminal else nullcontext() as status:
        for part in parts():
            for rows in batches(part, keep):
                forgotten[part] += rows
                if status is not None:
                    status.update(f"{part}: {forgotten[part]} rows forgotten")
    if output.as_json:
        output.document({"forgotten": forgotten, "keep": keep})
    else:
        output.say("forgot " + ", ".join(f"{count} rows of {name}" for name, count in forgotten.items()))
    return exits.OK


def _days(text: str) -> int:
    number = int(text)
    if number < 0:
        raise BadArguments(f"{text} days: 0 or more")
    return number
