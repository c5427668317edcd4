"""``ops alerts list|test``: what fires, and whether the channels work."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from ops import exits
from ops.alerts.channels import channel_names, deliver
from ops.alerts.errors import NotDelivered
from ops.output import Output, moment
from ops.parsers import Commands
from runstate import alerts
from runstate.alerts import Notice
from runstate.transaction import in_transaction
from tasks import clients

_STYLES = {"firing": "red", "recovering": "yellow", "pending": "yellow"}


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the commands."""
    group = commands.add_parser("alerts", help="what fires, and whether the channels work").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser("list", parents=[common], help="what fires now; exit 1 if anything does")
    parser.add_argument("--all", action="store_true", help="every cause that was ever seen, with where it stands")
    parser.set_defaults(run=show)
    parser = group.add_parser("test", parents=[common], help="send a test notice through every channel that is set up")
    parser.set_defaults(run=test)


def show(options: argparse.Namespace, output: Output) -> int:
    """Print the alerts."""
    found = list(in_transaction(clients.engine(), alerts.find_alerts).values())
    shown = found if options.all else [alert for alert in found if alert.status in ("firing", "recovering")]
    if output.as_json:
        output.document(shown)
    elif not shown:
        output.say("nothing fires", "green")
    else:
        output.table(
            ("STATUS", "LEVEL", "SINCE", "CAUSE", "FOUND", "WHAT TO DO"),
            [(a.status, a.level, moment(a.since), a.cause, a.found, a.advice) for a in shown],
            [_STYLES.get(alert.status, "") for alert in shown],
        )
    return exits.TROUBLE if any(alert.status == "firing" for alert in found) else exits.OK


def test(_: argparse.Namespace, output: Output) -> int:
    """Send through each channel, now."""
    at = datetime.now(UTC).replace(tzinfo=None)
    sent: dict[str, str] = {}
    for channel in channel_names():
        try:
            deliver(Notice(0, channel, "test", "fired", "warn", "a test, nothing is wrong", "nothing to do", at, 0))
            sent[channel] = "sent"
        except NotDelivered as error:
            sent[channel] = str(error)
    if output.as_json:
        output.document(sent)
    elif not sent:
        output.say(
            "no channel is set up: ALERT_EMAIL_TO, ALERT_SLACK_URL or ALERT_WEBHOOK_URL; the log of beat has every alert"
        )
    for channel, outcome in sent.items() if not output.as_json else ():
        output.say(f"{channel}: {outcome}", "green" if outcome == "sent" else "red")
    return exits.OK if all(outcome == "sent" for outcome in sent.values()) else exits.TROUBLE
