"""``ops limits``: the rate limits that all workers share; an operator may pause a key and let it go on."""

from __future__ import annotations

import argparse

from sqlalchemy import Connection

from locks.limit_list import LimitedKey, limited_key, list_limits
from locks.limits import RateLimiter
from ops import exits
from ops.actor import actor_of, add_actor
from ops.output import Output, duration
from ops.parsers import Commands, seconds
from runstate import audit, snoozed
from runstate.audit import Actor
from runstate.errors import NotFound
from runstate.transaction import in_transaction
from tasks import clients
from tasks.registry import kinds_by_queue


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``limits``."""
    parser = commands.add_parser(
        "limits", parents=[common], help="the rate limits: what is left, what is paused and why"
    )
    parser.set_defaults(run=show_limits)
    group = parser.add_subparsers(metavar="ACTION")
    listing = group.add_parser("list", parents=[common], help="the same")
    listing.set_defaults(run=show_limits)
    pausing = group.add_parser("pause", parents=[common], help="let nothing through a key; a longer pause stands")
    pausing.add_argument("key", metavar="KEY", help="as `limits` shows it, or one that was not used yet")
    pausing.add_argument("--for", dest="for_s", type=seconds, required=True, metavar="SECONDS", help="how long")
    add_actor(pausing)
    pausing.set_defaults(run=pause)
    resuming = group.add_parser("resume", parents=[common], help="end the pause of a key, and give it its full rate")
    resuming.add_argument("key", metavar="KEY", help="as `limits` shows it")
    add_actor(resuming)
    resuming.set_defaults(run=resume)


def show_limits(_: argparse.Namespace, output: Output) -> int:
    """Print every key, a line for each of its limits."""
    keys = list_limits(clients.redis())
    if output.as_json:
        output.document([_document(key) for key in keys])
        return exits.OK
    rows, styles = [], []
    for key in keys:
        paused = f"{duration(key.pause.for_s)}: {key.pause.reason}" if key.pause else ""
        for number, use in enumerate(key.limits or (None,)):
            name, rate, said = (key.key, _percent(key.rate), paused) if number == 0 else ("", "", "")
            numbers = (str(use.limit), use.used, use.left) if use else ("", "", "")
            rows.append((name, *numbers, rate, said))
            styles.append("yellow" if key.pause else "")
    output.table(("KEY", "LIMIT>", "USED>", "LEFT>", "RATE>", "PAUSED FOR"), rows, styles)
    return exits.OK


def pause(options: argparse.Namespace, output: Output) -> int:
    """Pause a key."""
    if options.dry_run:
        return _say(output, f"would pause {options.key} for {duration(options.for_s)}", options.key)
    pause_key(options.key, options.for_s, actor_of(options))
    return _say(output, f"{options.key} is paused", options.key)


def resume(options: argparse.Namespace, output: Output) -> int:
    """Let a key go on."""
    if options.dry_run:
        return _say(output, f"would end the pause of {options.key}", options.key)
    resume_key(options.key, actor_of(options))
    return _say(output, f"{options.key} goes on", options.key)


def pause_key(key: str, for_s: float, actor: Actor) -> LimitedKey:
    """Have nothing go through ``key`` for ``for_s`` seconds, unless it is paused for longer already; audited."""

    def do(connection: Connection) -> LimitedKey:
        before = limited_key(clients.redis(), key)
        # In Redis before the entry is committed: an entry of something that did not happen would be worse than none.
        RateLimiter(clients.redis()).pause(key, for_s, f"{actor.name}: {actor.reason}")
        after = limited_key(clients.redis(), key)
        audit.write(connection, actor, "limit_pause", key, _state(before), _state(after))
        return after

    return in_transaction(clients.engine(), do)


def resume_key(key: str, actor: Actor) -> LimitedKey:
    """End the pause of ``key``, give it its full rate, and have the jobs that waited for it look again now; audited.

    Raises `NotFound` where there is nothing to end.
    """

    def do(connection: Connection) -> LimitedKey:
        before = limited_key(clients.redis(), key)
        if before.pause is None and before.rate >= 1:
            raise NotFound(f"{key} is neither paused nor slowed down; `ops limits` shows what is")
        RateLimiter(clients.redis()).resume(key)
        after = limited_key(clients.redis(), key)
        # Otherwise they would look again within minutes only, and whoever resumed would wonder why nothing moves.
        # Whoever met the pause's cause himself has it as his last error, the others the name of the key.
        kinds = [kind.name for kind in kinds_by_queue().get(key.partition(":")[0], ())]
        woken = snoozed.wake(connection, kinds, key, before.pause.reason if before.pause else None)
        audit.write(connection, actor, "limit_resume", key, _state(before), {**_state(after), "jobs_woken": woken})
        return after

    return in_transaction(clients.engine(), do)


def _state(key: LimitedKey) -> dict[str, object]:
    return {
        "paused_s": round(key.pause.for_s, 1) if key.pause else None,
        "why": key.pause.reason if key.pause else None,
        "rate": round(key.rate, 4),
    }


def _document(key: LimitedKey) -> dict[str, object]:
    uses = [
        {"limit": str(use.limit), "used": use.used, "left": use.left, "asked_s_ago": use.asked_s_ago}
        for use in key.limits
    ]
    return {"key": key.key, "limits": uses, "reserved": key.reserved, **_state(key)}


def _percent(share: float) -> str:
    return "" if share >= 1 else f"{share:.0%}"


def _say(output: Output, sentence: str, key: str) -> int:
    found = limited_key(clients.redis(), key)
    if output.as_json:
        output.document({"done": sentence, **_document(found)})
    else:
        rest = f" (for {duration(found.pause.for_s)}: {found.pause.reason})" if found.pause else ""
        output.say(sentence + rest)
    return exits.OK
