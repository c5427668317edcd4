"""What operators do to runs and letters, as functions; the command line and the pages call these."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from runstate import audit, control, letters, replays, runs
from runstate.audit import Actor
from runstate.letters import Filter, Letter
from runstate.replays import NewerRun, ReplayRefused
from runstate.runs import Request, Run
from runstate.stale import stale_since
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients, failpoints
from tasks.errors import BadArguments, TasksError
from tasks.publish import publish_start
from tasks.registry import kind_named, kinds_by_queue


class Alive(TasksError):
    """The run is not stale: it lives, and recovering it needs ``force``."""


class _TakenBack(Exception):
    """A dry run has come to its end: what it did is rolled back; ``run`` is how the run would stand."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.run_id)
        self.run = run


def pause(run_id: str, actor: Actor, *, dry_run: bool = False) -> Run:
    """Hold a running run; ``dry_run`` raises what the act would raise, and changes nothing."""
    return _steer(lambda c: control.pause(c, run_id, actor), dry_run=dry_run)


def resume(run_id: str, actor: Actor, *, dry_run: bool = False) -> Run:
    """Let a paused run go on."""
    return _steer(lambda c: control.resume(c, run_id, actor), dry_run=dry_run)


def cancel(run_id: str, actor: Actor, *, dry_run: bool = False) -> Run:
    """End a run; what was recorded stays."""
    return _steer(lambda c: control.cancel(c, run_id, actor), dry_run=dry_run)


def _steer(steps: Callable[[Connection], Run], *, dry_run: bool) -> Run:
    if not dry_run:
        return in_transaction(clients.engine(), steps)

    def and_back(connection: Connection) -> Run:
        raise _TakenBack(steps(connection))

    try:
        return in_transaction(clients.engine(), and_back)
    except _TakenBack as tried:
        return tried.run


def recover(
    run_id: str,
    actor: Actor,
    *,
    resume: bool,
    heartbeat: datetime | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> Run:
    """End (``resume=False``) or resume a stale run.

    ``heartbeat``  what the operator saw; `runstate.control.Moved` is raised if the run moved since.
    ``force``      for a run that is not stale, or moved.  Raises `Alive`, `NotAllowed`, `NotFound`.
    """

    def steps(connection: Connection) -> Run:
        run = runs.get(connection, run_id)
        kind = kind_named(run.kind)
        neighbours = [other.name for other in kinds_by_queue()[kind.queue]]
        if not force and run.active and stale_since(connection, run, kind.stale_after_s, neighbours) is None:
            raise Alive(
                f"run {run_id} is {run.status.value} and not stale (heartbeat {run.heartbeat_at} UTC): pause or cancel it, "
                "or recover it with --force"
            )
        act = control.recover_resumed if resume else control.recover_failed
        recovered = act(connection, run_id, actor, heartbeat=heartbeat, force=force)
        failpoints.hit("recover.before_commit", connection)
        return recovered

    return _steer(steps, dry_run=dry_run)


def discard(letter_id: int, actor: Actor) -> Letter:
    """Give a letter up for good."""
    return in_transaction(clients.engine(), lambda c: letters.discard(c, letter_id, actor))


def edit(letter_id: int, payload: object, actor: Actor) -> Letter:
    """Set another payload for the replay of a letter, beside the original."""
    return in_transaction(clients.engine(), lambda c: letters.edit(c, letter_id, payload, actor))


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay did, or with ``dry_run`` would do, to the letters of one run."""

    run_id: str
    letter_ids: Sequence[int]
    replay_run_id: str | None = None
    """The new run, or the run itself where it is active; None for a dry run."""
    refused: str | None = None


@dataclass(slots=True)
class Report:
    """A replay, run by run."""

    replays: list[Replay] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many letters are on their way."""
        return sum(len(replay.letter_ids) for replay in self.replays if replay.refused is None)


def replay(
    which: Filter, actor: Actor | None, *, per_s: float | None = None, over_newer: bool = False, dry_run: bool = False
) -> Report:
    """Do the dead letters that match again: in their active run, else in a new run through the same admission.

    ``per_s``  how many jobs a second may fall due.  A letter that somebody else takes first is not taken twice.
    """
    by_run = in_transaction(clients.engine(), lambda c: letters.dead_by_run(c, which))
    report = Report()
    for run_id, letter_ids in by_run.items():
        if dry_run or actor is None:
            report.replays.append(_would_replay(run_id, letter_ids, over_newer=over_newer))
        else:
            report.replays.append(_replay_of_run(run_id, letter_ids, actor, per_s=per_s, over_newer=over_newer))
    return report


def _would_replay(run_id: str, letter_ids: Sequence[int], *, over_newer: bool) -> Replay:
    """What a replay would come to now; whether it would be admitted is another question."""

    def look(connection: Connection) -> str | None:
        run = runs.get(connection, run_id)
        try:
            _refuse_finish(connection, run_id, letter_ids)
            if not _inside(run):
                _refuse_anew(connection, run, over_newer=over_newer)
        except ReplayRefused as error:
            return str(error)
        return None

    return Replay(run_id, letter_ids, refused=in_transaction(clients.engine(), look))


def retry_rest(
    run_id: str, actor: Actor, *, over_newer: bool = False, per_s: float | None = None, dry_run: bool = False
) -> Replay:
    """Do what a failed or cancelled run left: its dead letters and the jobs it never did, as a new run.

    Raises `BadArguments` if there is nothing left, or the run is still active.
    """
    run = in_transaction(clients.engine(), lambda c: runs.get(c, run_id))
    if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.COMPLETED):
        raise BadArguments(f"run {run_id} is {run.status.value}: only a run that has ended has a rest to retry")
    letter_ids = in_transaction(clients.engine(), lambda c: letters.dead_by_run(c, Filter(run_id=run_id))).get(
        run_id, []
    )
    if dry_run:
        return _would_replay(run_id, letter_ids, over_newer=over_newer)
    return _replay_of_run(run_id, letter_ids, actor, per_s=per_s, over_newer=over_newer, rest=True)


def _replay_of_run(
    run_id: str, letter_ids: Sequence[int], actor: Actor, *, per_s: float | None, over_newer: bool, rest: bool = False
) -> Replay:
    new_run_id = str(uuid.uuid4())

    def steps(connection: Connection) -> Replay:
        run = runs.get(connection, run_id)
        _refuse_finish(connection, run_id, letter_ids)
        inside = _inside(run)
        target = run_id if inside else new_run_id
        taken = replays.take_letters(connection, letter_ids, target, actor.name)
        if not taken and not rest:
            return Replay(run_id, [], refused="somebody else has taken these letters")
        if inside:
            replays.revive_in_run(connection, run, taken)
        else:
            _refuse_anew(connection, run, over_newer=over_newer)
            _request_replay(connection, run, new_run_id, actor, per_s=per_s, rest=rest)
        audit.write(
            connection,
            actor,
            "retry_rest" if rest else "replay",
            run_id,
            {"status": run.status.value, "letters": list(letter_ids)[:1000]},
            {"replay_run_id": target, "letters": taken[:1000]},
        )
        failpoints.hit("replay.before_commit", connection)
        return Replay(run_id, taken, target)

    try:
        done = in_transaction(clients.engine(), steps)
    except ReplayRefused as error:
        # These alone: a database that went away, during COMMIT perhaps, has refused nothing.
        return Replay(run_id, letter_ids, refused=str(error))
    if done.replay_run_id == new_run_id:
        kind = in_transaction(clients.engine(), lambda c: runs.get(c, run_id)).kind
        publish_start(kind, new_run_id, about=f"replay of run {run_id[:8]}")
    return done


def _inside(run: Run) -> bool:
    return run.status in (RunStatus.RUNNING, RunStatus.PAUSED)


def _refuse_finish(connection: Connection, run_id: str, letter_ids: Sequence[int]) -> None:
    if replays.holds_finish(connection, letter_ids):
        raise ReplayRefused(
            f"the finish of run {run_id} failed, and it sums up that run's own jobs: it cannot be done in another run. "
            "Mend the cause and start anew"
        )


def _refuse_anew(connection: Connection, run: Run, *, over_newer: bool) -> None:
    """Where no new run may do what is left of ``run``.  Locks its row, so no letter may be locked after this."""
    if runs.is_purged(connection, run.run_id):
        raise ReplayRefused(f"run {run.run_id} is so old that its jobs are being forgotten; start it anew")
    if run.active:
        raise ReplayRefused(f"run {run.run_id} is {run.status.value}: replay when it is running, paused or has ended")
    newer = None if over_newer else replays.newer_completed(connection, run)
    if newer is not None:
        raise NewerRun(run.run_id, newer)


def _request_replay(
    connection: Connection, run: Run, new_run_id: str, actor: Actor, *, per_s: float | None, rest: bool
) -> None:
    runs.insert_request(
        connection,
        Request(
            run_id=new_run_id,
            kind=run.kind,
            admission_key=run.admission_key,
            args=run.args,
            requested_by=actor.name,
            parent_run_id=run.run_id,
            replay={"rest": rest, "per_s": per_s},
        ),
        message_follows=True,
    )
