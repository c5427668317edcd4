"""``ops email``: how a campaign stands, what is in doubt and how it is resolved, and the suppression list."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from ops import email_preview, exits
from ops.actor import actor_of, add_actor
from ops.errors import UsageError
from ops.output import Output, duration, moment
from ops.parsers import Commands, positive, seconds
from runstate import audit, runs
from runstate.errors import NotFound
from runstate.runs import Run
from runstate.statuses import ACTIVE
from runstate.transaction import in_transaction
from tasks import clients
from tasks.email import indoubt, ledger
from tasks.email.arguments import RESEND
from tasks.email.errors import BadAddress
from tasks.email.kind import CAMPAIGN
from tasks.email.report import campaign_report
from tasks.email.suppressions import GLOBAL, list_suppressions, suppress, unsuppress
from tasks.start import start_task

T = TypeVar("T")


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``email report``, ``preview``, ``test-send``, ``in-doubt``, ``resend`` and ``suppressions``."""
    group = commands.add_parser("email", help="campaigns, what is in doubt, suppressions").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser(
        "report", parents=[common], help="what was sent, failed and why, how fast, how much is left"
    )
    parser.add_argument("campaign", metavar="CAMPAIGN")
    parser.set_defaults(run=report)
    email_preview.add(group, common)
    _add_in_doubt(group, common)
    parser = group.add_parser("resend", parents=[common], help="start a run for what was resolved as resend")
    parser.add_argument("campaign", metavar="CAMPAIGN")
    add_actor(parser)
    parser.set_defaults(run=resend)
    _add_suppressions(group, common)


def _add_in_doubt(group: Commands, common: argparse.ArgumentParser) -> None:
    actions = group.add_parser("in-doubt", help="recipients that may have got their message").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = actions.add_parser("list", parents=[common], help="who, since when, and why")
    parser.add_argument("campaign", metavar="CAMPAIGN", nargs="?")
    parser.add_argument("--limit", type=positive, default=1000, help="at most so many (default %(default)s)")
    parser.set_defaults(run=list_in_doubt)
    parser = actions.add_parser(
        "resolve", parents=[common], help="say that they were sent, or have them sent again by a new run"
    )
    parser.add_argument("campaign", metavar="CAMPAIGN")
    parser.add_argument("--as", dest="resolved_as", choices=indoubt.AS, required=True)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--address", action="append", help="this one; may be given several times")
    who.add_argument("--all", action="store_true", help="all that are in doubt in the campaign")
    add_actor(parser)
    parser.set_defaults(run=resolve)


def _add_suppressions(group: Commands, common: argparse.ArgumentParser) -> None:
    actions = group.add_parser("suppressions", help="addresses that are not sent to").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = actions.add_parser("list", parents=[common], help="the list, newest first")
    parser.add_argument("--address")
    parser.add_argument("--scope")
    parser.add_argument("--limit", type=positive, default=1000, help="at most so many (default %(default)s)")
    parser.set_defaults(run=show_suppressions)
    for name, function, sentence in (
        ("add", add_suppression, "put an address on the list; a running campaign leaves it out from now on"),
        ("remove", remove_suppression, "take an address off the list"),
    ):
        parser = actions.add_parser(name, parents=[common], help=sentence)
        parser.add_argument("address", metavar="ADDRESS")
        parser.add_argument("--scope", default=GLOBAL, help="global, provider:NAME, list:NAME or campaign:NAME")
        if name == "add":
            parser.add_argument("--for", dest="for_s", type=seconds, help="seconds until it may be sent to again")
        add_actor(parser)
        parser.set_defaults(run=function)


def report(options: argparse.Namespace, output: Output) -> int:
    """Print a campaign's report."""

    def read(connection: Connection) -> dict[str, Any]:
        run = _run_of(connection, options.campaign)
        ledger.settle(connection, options.campaign)
        rates = run.args["rates"] if run else ()
        found = campaign_report(connection, options.campaign, rates=rates)
        status = run.status.value if run else None
        return {**found, "run_id": run.run_id if run else None, "status": status, "rates": list(rates)}

    found = in_transaction(clients.engine(), read)
    if output.as_json:
        output.document(found)
        return exits.OK
    output.say(f"{found['campaign']}: run {found['run_id']} is {found['status']}")
    output.table(("STATE", "RECIPIENTS>"), [(state, n) for state, n in found["states"].items() if n])
    if found["left"]:
        eta = duration(found["eta_s"]) or "as long as the server takes"
        output.say(f"{found['left']} left; under {', '.join(found['rates']) or 'no limit'} that takes {eta} or more")
    if found["failed_by_code"]:
        output.table(
            ("STATE", "CODE>", "ENHANCED", "RECIPIENTS>", "FOR EXAMPLE"),
            [(row["state"], row["code"], row["enhanced"], row["n"], row["example"]) for row in found["failed_by_code"]],
        )
    if found["failed_by_domain"]:
        output.table(
            ("DOMAIN", "FAILED>", "DEFERRED>", "IN DOUBT>"),
            [(row["domain"], row["failed"], row["deferred"], row["in_doubt"]) for row in found["failed_by_domain"]],
        )
    if found["events"]:
        output.table(("REPORTED", "RECIPIENTS>"), list(found["events"].items()))
    if found["sent_per_minute"]:
        output.table(("MINUTE (UTC)", "SENT>"), [(row["minute"], row["sent"]) for row in found["sent_per_minute"]])
    return exits.OK


def list_in_doubt(options: argparse.Namespace, output: Output) -> int:
    """Print who is in doubt, the oldest first."""

    def read(connection: Connection) -> list[dict[str, Any]]:
        if options.campaign is not None:
            _run_of(connection, options.campaign)
            ledger.settle(connection, options.campaign)
        return list(indoubt.list_in_doubt(connection, options.campaign, limit=options.limit))

    found = in_transaction(clients.engine(), read)
    if output.as_json:
        output.document(found)
        return exits.OK
    output.table(
        ("CAMPAIGN", "ADDRESS", "SINCE", "MESSAGE-ID", "WHY"),
        [(r["campaign"], r["address"], moment(r["sending_at"]), r["message_id"], r["reason"]) for r in found],
    )
    return exits.OK


def resolve(options: argparse.Namespace, output: Output) -> int:
    """Resolve one, several or all; ``--as resend`` also starts the run that sends them, unless the campaign still runs."""
    addresses = None if options.all else options.address

    def write(connection: Connection) -> list[str]:
        _run_of(connection, options.campaign)
        ledger.settle(connection, options.campaign)
        if options.dry_run:
            wanted = None if addresses is None else {address.strip().lower() for address in addresses}
            rows = indoubt.list_in_doubt(connection, options.campaign, limit=10**9)
            return [row["address"] for row in rows if wanted is None or row["address"].lower() in wanted]
        actor = actor_of(options)
        found = indoubt.resolve(
            connection, options.campaign, resolved_as=options.resolved_as, addresses=addresses, by=actor.name
        )
        if found:
            after = {"state": options.resolved_as, "recipients": len(found), "addresses": found[:100]}
            audit.write(
                connection, actor, "resolve_in_doubt", f"campaign {options.campaign}", {"state": "in_doubt"}, after
            )
        return found

    found = in_transaction(clients.engine(), write)
    run_id = None
    if found and options.resolved_as == "resend" and not options.dry_run:
        run = in_transaction(clients.engine(), lambda c: _run_of(c, options.campaign))
        if run is not None and run.status not in ACTIVE:
            run_id = _start(run)
    if output.as_json:
        output.document({"resolved": found, "as": options.resolved_as, "dry_run": options.dry_run, "run_id": run_id})
        return exits.OK
    would = "would be " if options.dry_run else ""
    output.say(f"{len(found)} recipients of {options.campaign} {would}resolved as {options.resolved_as}")
    if run_id is not None:
        output.say(f"run {run_id} sends to them")
    elif found and options.resolved_as == "resend" and not options.dry_run:
        output.say(f"the campaign still runs; once it has ended: python -m ops email resend '{options.campaign}'")
    return exits.OK


def resend(options: argparse.Namespace, output: Output) -> int:
    """Start a run, with the arguments of the campaign's last one, for what was resolved as resend."""
    run = in_transaction(clients.engine(), lambda c: _run_of(c, options.campaign))
    if run is None:
        raise UsageError(
            f"the last run of {options.campaign} is not kept any more; start the campaign with its arguments"
        )
    if run.status in ACTIVE:
        raise UsageError(f"{options.campaign} still runs ({run.run_id}, {run.status.value}); resend once it has ended")
    if options.dry_run:
        output.document({"dry_run": "would start a run", "arguments": {**run.args, "recipients": RESEND}})
        return exits.OK
    actor = actor_of(options)
    run_id = _start(run)
    in_transaction(
        clients.engine(),
        lambda c: audit.write(c, actor, "resend", f"campaign {options.campaign}", {}, {"run_id": run_id}),
    )
    if output.as_json:
        output.document({"run_id": run_id})
    else:
        output.say(f"run {run_id}; follow it: python -m ops runs watch {run_id}")
    return exits.OK


def show_suppressions(options: argparse.Namespace, output: Output) -> int:
    """Print the suppression list."""
    found = in_transaction(
        clients.engine(),
        lambda c: _asked(
            lambda: list(list_suppressions(c, address=options.address, scope=options.scope, limit=options.limit))
        ),
    )
    if output.as_json:
        output.document(found)
        return exits.OK
    output.table(
        ("ADDRESS", "SCOPE", "REASON", "SINCE", "UNTIL", "DETAIL"),
        [
            (r["address"], r["scope"], r["reason"], moment(r["created_at"]), moment(r["expires_at"]), r["detail"])
            for r in found
        ],
    )
    return exits.OK


def add_suppression(options: argparse.Namespace, output: Output) -> int:
    """Suppress one address."""
    return _change(options, output, "suppress", _suppress)


def remove_suppression(options: argparse.Namespace, output: Output) -> int:
    """Take one address off the list; not found where it does not stand there."""
    return _change(options, output, "unsuppress", _unsuppress)


def _suppress(connection: Connection, options: argparse.Namespace) -> None:
    detail = f"{options.actor}: {options.reason}"
    suppress(connection, options.address, reason="manual", scope=options.scope, detail=detail, for_s=options.for_s)


def _unsuppress(connection: Connection, options: argparse.Namespace) -> None:
    if not unsuppress(connection, options.address, scope=options.scope):
        raise NotFound(f"{options.address} is not suppressed in {options.scope}; see `ops email suppressions list`")


def _change(options: argparse.Namespace, output: Output, action: str, change: Any) -> int:
    if options.dry_run:
        output.document({"dry_run": f"would {action}", "address": options.address, "scope": options.scope})
        return exits.OK
    actor = actor_of(options)

    def steps(connection: Connection) -> None:
        def stands() -> list[Any]:
            return list(list_suppressions(connection, address=options.address, scope=options.scope))

        before = _asked(stands)
        _asked(lambda: change(connection, options))
        after = stands()
        audit.write(connection, actor, action, options.address[:191], _texts(before), _texts(after))

    in_transaction(clients.engine(), steps)
    if output.as_json:
        output.document({"address": options.address, "scope": options.scope, "done": action})
    else:
        output.say(f"{action}ed {options.address} ({options.scope})")
    return exits.OK


def _texts(rows: list[Any]) -> dict[str, str]:
    return {name: str(value) for name, value in rows[0].items()} if rows else {}


def _asked(function: Callable[[], T]) -> T:
    """What the operator gave may be no address or no scope."""
    try:
        return function()
    except (BadAddress, ValueError) as error:
        raise UsageError(str(error)) from error


def _run_of(connection: Connection, campaign: str) -> Run | None:
    """The campaign's last run, None where it is not kept any more; raises `NotFound` for a campaign that never was."""
    found = ledger.find_campaign(connection, campaign)
    if found is None:
        raise NotFound(f"there is no campaign {campaign!r}; see `python -m ops runs list --kind campaign`")
    try:
        return runs.get(connection, found["run_id"])
    except NotFound:
        return None


def _start(run: Run) -> str:
    result = start_task(CAMPAIGN).delay(**{**run.args, "recipients": RESEND, "dry_run": False})
    return str(result.run_id)
