"""``ops audit``: who did what to what, when and why."""

from __future__ import annotations

import argparse
import json

from ops import exits
from ops.output import Output, moment
from ops.parsers import Commands, positive
from runstate import pages, queries
from runstate.transaction import in_transaction
from tasks import clients


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``audit``."""
    parser = commands.add_parser("audit", parents=[common], help="who did what to what, when and why; the newest first")
    parser.add_argument("--run", dest="of_run", metavar="RUN", help="only what was done to this run")
    parser.add_argument(
        "--subject", help="only what was done to this: a run id, dead_letter:N, a limit's key, lock:NAME"
    )
    parser.add_argument("--by", metavar="ACTOR", help="only what this actor did")
    parser.add_argument("--action", help="only this, as the list names it: pause, replay, limit_resume …")
    parser.add_argument("--before", type=positive, metavar="ID", help="only entries before this one: the next page")
    parser.add_argument("--limit", type=positive, default=50, help="at most so many (default %(default)s)")
    parser.set_defaults(run=show_audit)


def show_audit(options: argparse.Namespace, output: Output) -> int:
    """Print the entries that match."""
    subject = options.subject
    if options.of_run:
        subject = in_transaction(clients.engine(), lambda c: queries.resolve_run_id(c, options.of_run))
    found = in_transaction(
        clients.engine(),
        lambda c: pages.audit_page(
            c, subject=subject, actor=options.by, action=options.action, before_id=options.before, most=options.limit
        ),
    )
    if output.as_json:
        output.document(found)
        return exits.OK
    output.table(
        ("ID>", "AT", "WHO", "WHAT", "TO WHAT", "WHY", "BEFORE", "AFTER"),
        [
            (
                row.id,
                moment(row.at),
                row.actor,
                row.action,
                row.subject,
                row.reason,
                _short(row.before),
                _short(row.after),
            )
            for row in found
        ],
    )
    return exits.OK


def _short(state: object) -> str:
    text = json.dumps(state, ensure_ascii=False)
    return "" if text in ("{}", "null") else text[:100]
