"""``ops email preview`` and ``ops email test-send``: a campaign's real messages, before anybody gets one."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import UsageError
from ops.output import Output
from ops.parsers import Commands, positive
from runstate import audit, runs
from runstate.errors import NotFound
from runstate.transaction import in_transaction
from tasks import clients
from tasks.email import ledger
from tasks.email.answers import Action
from tasks.email.arguments import RESEND, campaign_arguments
from tasks.email.conversation import NotConnected
from tasks.email.errors import EmailError
from tasks.email.preview import Preview, preview, test_send
from tasks.errors import BadArguments
from tasks.spool import with_lists

Json = Any


def add(group: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``email preview`` and ``email test-send``."""
    parser = group.add_parser("preview", parents=[common], help="the messages to the first recipients, and warnings")
    _add_campaign(parser)
    parser.add_argument("--count", type=positive, default=3, help="how many recipients (default %(default)s)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write each message there, as a .eml file")
    parser.set_defaults(run=show)
    parser = group.add_parser(
        "test-send",
        parents=[common],
        help="send the first recipient's message to an address of yours, marked as a test",
    )
    _add_campaign(parser)
    parser.add_argument("--to", metavar="ADDRESS", required=True)
    add_actor(parser)
    parser.set_defaults(run=send)


def _add_campaign(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "campaign", metavar="CAMPAIGN", nargs="?", help="one that has been started, with those arguments"
    )
    which.add_argument(
        "--file", metavar="FILE", type=Path, help="the arguments of start_campaign, as a .toml or .json file"
    )


def show(options: argparse.Namespace, output: Output) -> int:
    """Print subjects and warnings, or write the messages; 1 if one of them cannot be made."""
    found = _asked(lambda: list(preview(_campaign(options), options.count, engine=clients.engine())))
    files = _write(found, options.out) if options.out else [None] * len(found)
    if output.as_json:
        output.document([_as_object(one, file) for one, file in zip(found, files, strict=True)])
    else:
        for one, file in zip(found, files, strict=True):
            output.say(f"{one.place}: {one.address}: {one.subject!r}{f', {len(one.data)} bytes' if one.data else ''}")
            for warning in one.warnings:
                output.say(f"   {warning}")
            if file:
                output.say(f"   {file}")
            elif one.data:
                output.say("\n".join(f"   | {line}" for line in one.data.decode().splitlines()))
    return exits.OK if all(one.data for one in found) else exits.TROUBLE


def send(options: argparse.Namespace, output: Output) -> int:
    """Send one test message; 1 if the server does not take it."""
    campaign = _asked(lambda: _campaign(options))
    if options.dry_run:
        output.document({"dry_run": "would send a test message", "to": options.to, "campaign": campaign["name"]})
        return exits.OK
    actor = actor_of(options)
    try:
        rendered, answer = _asked(lambda: test_send(campaign, options.to, engine=clients.engine()))
    except NotConnected as error:
        raise UsageError(f"provider {campaign['provider']}: {error}") from error
    taken = answer.action is Action.ACCEPT
    after = {"message_id": rendered.message_id, "code": answer.code, "answer": answer.text[:200]}
    in_transaction(
        clients.engine(),
        lambda c: audit.write(c, actor, "test_send", f"campaign {campaign['name']}", {"to": options.to}, after),
    )
    if output.as_json:
        output.document({"to": options.to, "taken": taken, **after})
    else:
        output.say(
            f"{'sent' if taken else 'not taken'}: {rendered.subject!r} to {options.to}: {answer.code} {answer.text}"
        )
    return exits.OK if taken else exits.TROUBLE


def _campaign(options: argparse.Namespace) -> Mapping[str, Json]:
    return campaign_arguments(**_read(options.file)) if options.file else _started(options.campaign)


def _started(name: str) -> Mapping[str, Json]:
    found = in_transaction(clients.engine(), lambda c: ledger.find_campaign(c, name))
    if found is None:
        raise NotFound(f"there is no campaign {name!r}; name a file with its arguments: --file campaign.toml")
    run = in_transaction(clients.engine(), lambda c: runs.get(c, found["run_id"]))
    args = with_lists(run.args, run.run_id)
    if args["recipients"] == RESEND:
        raise UsageError(f"the last run of {name} sent again what was in doubt; give its arguments by --file")
    return args


def _read(path: Path) -> Mapping[str, Json]:
    try:
        text = path.read_text(encoding="utf-8")
        given = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"{path}: give the arguments of start_campaign by their names")
    return given


def _asked(function: Any) -> Any:
    """What the operator gave may be wrong in every way."""
    try:
        return function()
    except (EmailError, BadArguments, TypeError) as error:
        raise UsageError(str(error)) from error


def _write(found: list[Preview], directory: Path) -> list[str | None]:
    directory.mkdir(parents=True, exist_ok=True)
    files: list[str | None] = []
    for one in found:
        path = directory / f"{one.place}.eml"
        if one.data:
            path.write_bytes(one.data)
        files.append(str(path) if one.data else None)
    return files


def _as_object(one: Preview, file: str | None) -> dict[str, Json]:
    data = one.data.decode() if one.data else None
    return {**one._asdict(), "data": None if file else data, "file": file, "bytes": len(one.data or b"")}
