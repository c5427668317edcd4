"""``ops dead-letters``: list, group, look at, edit, discard, replay."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import NotAsSeen, UsageError
from ops.output import Output, moment
from ops.parsers import Commands, positive, rate
from runstate import letters, queries
from runstate.letters import Filter, Letter
from runstate.transaction import in_transaction
from tasks import clients, control

STATUSES = ("dead", "replaying", "replayed", "discarded")


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the commands."""
    group = commands.add_parser("dead-letters", help="jobs that were given up").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = group.add_parser("list", parents=[common], help="letters, the oldest first")
    _filters(parser)
    parser.add_argument("--status", default="dead", choices=[*STATUSES, "all"], help="(default %(default)s)")
    parser.add_argument("--group", action="store_true", help="one line for each trouble: kind, error, fingerprint")
    parser.add_argument("--limit", type=positive, default=50, help="at most so many (default %(default)s)")
    parser.set_defaults(run=list_letters)
    parser = group.add_parser("show", parents=[common], help="one letter: payload, error, traceback")
    parser.add_argument("id", type=positive)
    parser.set_defaults(run=show)
    parser = group.add_parser("edit", parents=[common], help="set another payload for the replay, beside the original")
    parser.add_argument("id", type=positive)
    parser.add_argument("--payload", required=True, metavar="JSON", help="the payload that a replay is to use")
    add_actor(parser)
    parser.set_defaults(run=edit)
    parser = group.add_parser("discard", parents=[common], help="give letters up for good")
    _selection(parser)
    add_actor(parser)
    parser.set_defaults(run=discard)
    parser = group.add_parser("replay", parents=[common], help="do letters again, through admission like any start")
    _selection(parser)
    parser.add_argument("--over-newer", action="store_true", help="even if a newer run of the key has completed")
    parser.add_argument("--per-second", type=rate, metavar="N", help="let at most so many jobs a second fall due")
    add_actor(parser)
    parser.set_defaults(run=replay)


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", dest="of_run", metavar="RUN", help="only of this run")
    parser.add_argument("--kind", help="only of this kind")
    parser.add_argument("--error-class", help="only of this error class")
    parser.add_argument("--fingerprint", help="only of this trouble, as `list --group` names it")


def _selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=positive, metavar="ID", help="letters by number")
    parser.add_argument("--all", action="store_true", help="every dead letter that matches the filters")
    parser.add_argument(
        "--expect",
        type=int,
        metavar="N",
        help="what the dry run said; if there are more letters by now, nothing is done",
    )
    _filters(parser)


def _which(options: argparse.Namespace, *, status: str | None) -> Filter:
    run_id = None
    if options.of_run:
        run_id = in_transaction(clients.engine(), lambda c: queries.resolve_run_id(c, options.of_run))
    return Filter(
        ids=tuple(getattr(options, "ids", ())),
        run_id=run_id,
        kind=options.kind,
        error_class=options.error_class,
        fingerprint=options.fingerprint,
        status=status,
    )


def _selected(options: argparse.Namespace) -> Filter:
    if bool(options.ids) == bool(options.all):
        raise UsageError("name letters by number, or say --all (with filters, to narrow it down)")
    which = _which(options, status="dead")
    if options.expect is not None:
        now = in_transaction(clients.engine(), lambda c: letters.count(c, which))
        if now > options.expect:
            raise NotAsSeen(f"it is {now} letters by now, not {options.expect}: look again; nothing was done")
    return which


def list_letters(options: argparse.Namespace, output: Output) -> int:
    """Print letters, or groups of them."""
    which = _which(options, status=None if options.status == "all" else options.status)
    if options.group:
        groups = in_transaction(clients.engine(), lambda c: letters.groups(c, which))
        if output.as_json:
            output.document(groups)
            return exits.OK
        columns = ("COUNT>", "KIND", "ERROR", "FINGERPRINT", "LAST", "EXAMPLE")
        output.table(
            columns,
            [
                (g.count, g.kind, g.error_class, g.fingerprint, moment(g.last_failed_at), g.example[:120])
                for g in groups
            ],
        )
        return exits.OK
    found = in_transaction(clients.engine(), lambda c: letters.find(c, which, most=options.limit))
    if output.as_json:
        output.document(found)
        return exits.OK
    output.table(
        ("ID>", "KIND", "RUN", "JOB>", "STATUS", "ATTEMPTS>", "SINCE", "ERROR"),
        [
            (
                letter.id,
                letter.kind,
                letter.run_id,
                letter.job_no,
                letter.status,
                letter.attempts,
                moment(letter.created_at),
                f"{letter.error_class}: {letter.error[:120]}",
            )
            for letter in found
        ],
    )
    return exits.OK


def show(options: argparse.Namespace, output: Output) -> int:
    """Print one letter."""
    letter = in_transaction(clients.engine(), lambda c: letters.get(c, options.id))
    if output.as_json:
        output.document(letter)
        return exits.OK
    for name, value in _about(letter):
        if value not in (None, ""):
            output.say(f"{name:<14} {value}")
    for line in (letter.traceback or "").splitlines():
        output.say(f"  {line}", "dim")
    return exits.OK


def _about(letter: Letter) -> list[tuple[str, Any]]:
    return [
        ("letter", f"{letter.id} of kind {letter.kind}"),
        ("run", f"{letter.run_id}, job {letter.job_no}"),
        ("status", letter.status),
        ("error", f"{letter.error_class}: {letter.error}"),
        ("attempts", f"{letter.attempts}, crashes {letter.crashes}"),
        ("first failed", moment(letter.first_failed_at)),
        ("given up", moment(letter.created_at)),
        ("fingerprint", letter.fingerprint),
        ("payload", json.dumps(letter.payload, ensure_ascii=False)),
        ("edited", None if letter.edited_payload is None else json.dumps(letter.edited_payload, ensure_ascii=False)),
        ("resolved", moment(letter.resolved_at)),
        ("by", letter.resolved_by),
        ("resolution", letter.resolution),
        ("replay run", letter.replay_run_id),
    ]


def edit(options: argparse.Namespace, output: Output) -> int:
    """Set the payload of a replay."""
    try:
        payload = json.loads(options.payload)
    except json.JSONDecodeError as error:
        raise UsageError(f"--payload is not JSON: {error}") from None
    if options.dry_run:
        letter = in_transaction(clients.engine(), lambda c: letters.get(c, options.id))
        if output.as_json:
            output.document({"dry_run": "would edit", "payload": payload, "letter": letter})
        else:
            was = letter.payload if letter.edited_payload is None else letter.edited_payload
            output.say(f"would edit letter {letter.id}, {letter.status}")
            output.say(f"  from {json.dumps(was, ensure_ascii=False)}")
            output.say(f"  to   {json.dumps(payload, ensure_ascii=False)}")
        return exits.OK
    letter = control.edit(options.id, payload, actor_of(options))
    if output.as_json:
        output.document(letter)
    else:
        output.say(f"letter {letter.id}: a replay uses {json.dumps(payload, ensure_ascii=False)}")
    return exits.OK


def discard(options: argparse.Namespace, output: Output) -> int:
    """Give letters up."""
    which = _selected(options)
    if options.dry_run:
        count = in_transaction(clients.engine(), lambda c: letters.count(c, which))
        return _counted(output, "would discard", count)
    actor = actor_of(options)
    discarded = 0
    after_id = 0
    while page := in_transaction(clients.engine(), lambda c, a=after_id: letters.find(c, which, most=500, after_id=a)):  # type: ignore[misc]
        after_id = page[-1].id
        for letter in page:
            try:
                control.discard(letter.id, actor)
            except letters.LetterNotDead as error:
                output.say(str(error)) if not output.as_json else None
            else:
                discarded += 1
    return _counted(output, "discarded", discarded)


def replay(options: argparse.Namespace, output: Output) -> int:
    """Do letters again, and report by run."""
    which = _selected(options)
    if options.dry_run:
        report = control.replay(which, actor=None, dry_run=True)
    else:
        report = control.replay(which, actor_of(options), per_s=options.per_second, over_newer=options.over_newer)
    refused = [done for done in report.replays if done.refused]
    if output.as_json:
        output.document({"dry_run": options.dry_run, "taken": report.taken, "replays": report.replays})
    else:
        for done in report.replays:
            where = done.replay_run_id or "(dry run: in this one if it is active, else in a new one)"
            said = f"refused: {done.refused}" if done.refused else f"in run {where}"
            output.say(f"{len(done.letter_ids)} letters of run {done.run_id} {said}", "red" if done.refused else "")
        output.say(f"{'would take' if options.dry_run else 'took'} {report.taken} letters")
    return exits.TROUBLE if refused else exits.OK


def _counted(output: Output, verb: str, count: int) -> int:
    if output.as_json:
        output.document({"verb": verb, "letters": count})
    else:
        output.say(f"{verb} {count} letters")
    return exits.OK
