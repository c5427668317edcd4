"""``ops runs pause|resume|cancel|recover|retry|explain``: what an operator does to a run, and what it is waiting for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection

from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import UsageError
from ops.output import Output, moment
from ops.parsers import Commands, rate
from runstate import queries, runs
from runstate.audit import Actor
from runstate.runs import Run
from runstate.transaction import in_transaction
from tasks import clients, control
from tasks.explain import conclusion, explain

_HELP = {
    "pause": "hold a running run: no new job starts, jobs in workers' hands go back to pending",
    "resume": "let a paused run go on",
    "cancel": "end a run; what was recorded stays",
}
_ACTIONS: dict[str, Callable[..., Run]] = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
}


def add(group: Commands, common: argparse.ArgumentParser) -> None:
    """Declare the commands within ``ops runs``."""
    for name, text in _HELP.items():
        parser = _parser(group, common, name, text)
        parser.set_defaults(run=act, action=name)
    parser = _parser(group, common, "recover", "end (--fail) or resume (--resume) a stale run")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--fail", dest="resume", action="store_false", help="end it: its key is free at once")
    how.add_argument("--resume", dest="resume", action="store_true", help="go on under a new fence")
    parser.add_argument(
        "--expect-heartbeat",
        metavar="TIME",
        help="the heartbeat that you saw (as `runs show --json` prints it); if it moved since, nothing is done. "
        "Default: what stands there now",
    )
    parser.add_argument("--force", action="store_true", help="even if the run is not stale, or moved")
    parser.set_defaults(run=recover)
    parser = _parser(group, common, "retry", "do what a failed or cancelled run left, as a new run")
    parser.add_argument("--over-newer", action="store_true", help="even if a newer run of the key has completed")
    parser.add_argument("--per-second", type=rate, metavar="N", help="let at most so many jobs a second fall due")
    parser.set_defaults(run=retry)
    parser = group.add_parser("explain", parents=[common], help="why isn't it running?")
    parser.add_argument("run_id", metavar="RUN", help="a run id, or an unambiguous beginning of one")
    parser.set_defaults(run=explain_run)


def _parser(group: Commands, common: argparse.ArgumentParser, name: str, text: str) -> argparse.ArgumentParser:
    parser = group.add_parser(name, parents=[common], help=text)
    parser.add_argument("run_id", metavar="RUN", help="a run id, or an unambiguous beginning of one")
    add_actor(parser)
    return parser


def act(options: argparse.Namespace, output: Output) -> int:
    """Pause, resume or cancel."""
    run = _run(options.run_id)
    done = _ACTIONS[options.action](run.run_id, _actor(options), dry_run=options.dry_run)
    return _would(output, run, done, options.action) if options.dry_run else _done(output, done)


def recover(options: argparse.Namespace, output: Output) -> int:
    """Recover a stale run, unless it moved since it was looked at."""
    run = _run(options.run_id)
    seen = _moment(options.expect_heartbeat) if options.expect_heartbeat else run.heartbeat_at
    done = control.recover(
        run.run_id,
        _actor(options),
        resume=options.resume,
        heartbeat=seen,
        force=options.force,
        dry_run=options.dry_run,
    )
    if options.dry_run:
        return _would(output, run, done, f"{'resume' if options.resume else 'fail'}, heartbeat {moment(seen)}")
    return _done(output, done)


def retry(options: argparse.Namespace, output: Output) -> int:
    """Do the rest of an ended run."""
    run = _run(options.run_id)
    done = control.retry_rest(
        run.run_id,
        _actor(options),
        over_newer=options.over_newer,
        per_s=options.per_second,
        dry_run=options.dry_run,
    )
    rest = f"{run.jobs_cancelled + run.jobs_dead} jobs ({run.jobs_dead} dead, {run.jobs_cancelled} never done)"
    if output.as_json:
        output.document({"dry_run": f"would do {rest} again", **asdict(done)} if options.dry_run else done)
    elif done.refused:
        output.say(f"refused: {done.refused}", "red")
    elif options.dry_run:
        output.say(f"would do {rest} of run {run.run_id} again, in a new run")
    else:
        output.say(
            f"run {done.replay_run_id} does the rest of run {run.run_id} ({len(done.letter_ids)} dead letters in it)"
        )
    return exits.TROUBLE if done.refused else exits.OK


def explain_run(options: argparse.Namespace, output: Output) -> int:
    """Say why a run stands where it stands."""
    explanation = explain(_run(options.run_id).run_id)
    if output.as_json:
        output.document(explanation)
        return exits.OK
    output.say(f"run {explanation.run.run_id} is {explanation.run.status.value}")
    for finding in explanation.findings:
        output.say(f"  {'!' if finding.blocks else '-'} {finding.text}", "yellow" if finding.blocks else "")
    if (concluded := conclusion(explanation.findings)) is not None:
        output.say(f"  {concluded}")
    return exits.OK


def _actor(options: argparse.Namespace) -> Actor:
    """A dry run does what it would do and rolls it back, audit entry included: it needs no reason."""
    return Actor(options.actor, options.reason or "dry run") if options.dry_run else actor_of(options)


def _run(given: str) -> Run:
    def look(connection: Connection) -> Run:
        return runs.get(connection, queries.resolve_run_id(connection, given))

    return in_transaction(clients.engine(), look)


def _done(output: Output, run: Run) -> int:
    if output.as_json:
        output.document(run)
    else:
        output.say(f"run {run.run_id} is {run.status.value}: {run.reason or ''}")
    return exits.OK


def _would(output: Output, run: Run, after: Run, action: str) -> int:
    if output.as_json:
        output.document({"dry_run": f"would {action}", "run": run, "status_after": after.status})
    else:
        changes = f"{run.status.value} → {after.status.value}, {run.jobs_open} jobs open"
        output.say(f"would {action}: run {run.run_id}, {changes}")
    return exits.OK


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.removesuffix("Z").removesuffix(" UTC"))
    except ValueError:
        raise UsageError(f"--expect-heartbeat {text}: give a time as 2026-01-31T12:00:00.000000Z") from None
