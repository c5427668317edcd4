"""``ops locks``: the locks that are held in Redis now, and taking one from its holder."""

from __future__ import annotations

import argparse

from locks import HeldLock, list_locks
from ops import exits
from ops.actor import actor_of, add_actor
from ops.errors import NotAsSeen, UsageError
from ops.output import Output, duration
from ops.parsers import Commands
from ops.release import release
from runstate.errors import NotFound
from tasks import clients

SHOWN = 8
"""Characters of a token that are shown, and the least that must be given back."""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Declare ``locks``."""
    parser = commands.add_parser("locks", parents=[common], help="the locks that are held now, by whom, for how long")
    parser.set_defaults(run=show_locks)
    group = parser.add_subparsers(metavar="ACTION")
    listing = group.add_parser("list", parents=[common], help="the same")
    listing.set_defaults(run=show_locks)
    releasing = group.add_parser(
        "release", parents=[common], help="take a lock from its holder, if it is still the holding that was looked at"
    )
    releasing.add_argument("lock", metavar="LOCK", help="its name as `locks` shows it, or its key in Redis")
    releasing.add_argument(
        "--token",
        required=True,
        metavar="TOKEN",
        help="the token that you saw; if the lock is held anew by now, nothing is done",
    )
    releasing.add_argument("--force", action="store_true", help="say that you mean it: its holder may be at work")
    add_actor(releasing)
    releasing.set_defaults(run=release_lock)


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
                lock.holder.token[:SHOWN],
            )
            for lock in held
        ],
    )
    return exits.OK


def release_lock(options: argparse.Namespace, output: Output) -> int:
    """Free a lock by force."""
    lock = find_holding(list_locks(clients.redis()), options.lock, options.token)
    facts = {"lock": lock.holder.name, "owner": lock.holder.owner, "held_s": lock.age_s}
    said = f"{lock.holder.name}, held by {lock.holder.owner} for {duration(lock.age_s)}"
    if options.dry_run:
        return _say(output, {"dry_run": "would release", **facts}, f"would release {said}")
    if not options.force:
        raise UsageError(
            f"{said}: its holder may be at work, and is not told. It is free by itself within "
            f"{duration(lock.holder.ttl_s) or 'no time: it has no expiry'}. Say --force if you mean it"
        )
    if not release(lock.key, lock.holder.token, lock.holder.name, actor_of(options)):
        raise NotAsSeen(f"{lock.holder.name} was freed or taken anew meanwhile; nothing was done")
    return _say(output, {"released": True, **facts}, f"released {said}")


def find_holding(held: list[HeldLock], named: str, token: str) -> HeldLock:
    """The lock called ``named``, if its holding has this token.  Raises `NotFound`, `NotAsSeen`, `UsageError`."""
    found = next((lock for lock in held if named in (lock.key, lock.holder.name)), None)
    if found is None:
        raise NotFound(f"no lock {named} is held (any more); `python -m ops locks` shows what is")
    if len(token) < min(SHOWN, len(found.holder.token)):
        raise UsageError(f"--token {token}: give at least the {SHOWN} characters that `python -m ops locks` shows")
    if not found.holder.token.startswith(token):
        raise NotAsSeen(
            f"{named} is not the holding that you saw: {found.holder.owner} holds it for {duration(found.age_s)}, token "
            f"{found.holder.token[:SHOWN]}; nothing was done"
        )
    return found


def _say(output: Output, document: dict[str, object], sentence: str) -> int:
    if output.as_json:
        output.document(document)
    else:
        output.say(sentence)
    return exits.OK
