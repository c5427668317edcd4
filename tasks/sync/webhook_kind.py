"""``receive_webhook.delay(connection, headers, body)``: checked, taken once, and turned into readings of its records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection

from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import FailRun, Snooze
from tasks.kinds import Args, Backoff, JobKind, Json, Work
from tasks.sync import deliveries, links, outbox
from tasks.sync.arguments import webhook_arguments
from tasks.sync.connections import connection_named
from tasks.sync.connector import RemoteError
from tasks.sync.job_errors import HELD_WAIT_S, answer_to
from tasks.sync.links import Pair
from tasks.sync.push import push
from tasks.sync.scenes import calling, failing_the_run, holding, scene_for
from tasks.sync.signature import BadSignature
from tasks.sync.webhook import BadWebhook
from tasks.sync.webhook_routing import route

PIECE = 16 * 1024
"""Characters."""


def plan_delivery(args: Args) -> Iterator[Json]:
    """One job for each record of each kind that the delivery is about, and one that says which kinds leave it alone.

    A delivery that nobody signed, or that no kind understands, fails the run: somebody should know.
    """
    with failing_the_run():
        connection = connection_named(args["connection"])
        try:
            routed = route(
                connection, args["headers"], "".join(args["body"]).encode(), received_at=float(args["received_at"])
            )
        except (BadSignature, BadWebhook) as error:
            raise FailRun(f"webhook of connection {connection.name!r}: {error}") from error
    if routed.ignored:
        yield {"ignored": dict(routed.ignored)}
    for kind_name, event in routed.events.items():
        for remote_id in event.remote_ids:
            yield {"kind": kind_name, "remote_id": remote_id, "delivery": _digest(kind_name, event.event_id, remote_id)}


def _digest(kind_name: str, event_id: str | None, remote_id: str) -> str | None:
    """What tells a delivery that is sent again; None where nothing does."""
    if event_id is None:
        return None
    return hashlib.sha256(f"{kind_name}\0{event_id}\0{remote_id}".encode(errors="backslashreplace")).hexdigest()


def perform_delivery(work: Work) -> Mapping[str, Json]:
    """Read one record as it is now, and take it in as a pull would; what it leaves to push is pushed."""
    payload = work.payload
    if "ignored" in payload:
        return {"ignored": payload["ignored"]}
    pair = Pair(work.args["connection"], payload["kind"])
    entity = f"r:{payload['remote_id']}"

    def take(connection: Connection) -> list[outbox.Entry]:
        digest = payload["delivery"]
        fresh = digest is None or deliveries.take(connection, pair.connection, digest, work.run_id)
        waiting = outbox.find(connection, pair, [entity])
        # Taken before and still waiting: whoever took it has not read it (its job is a dead letter that is replayed now).
        if fresh and not waiting:
            outbox.add(connection, pair, [entity])
            waiting = outbox.find(connection, pair, [entity])
        return waiting

    entries = work.checkpoint(take)
    if not entries:
        return {"taken_before": 1}
    with failing_the_run():
        scene = scene_for(work, *pair)
    with calling(work, scene):
        with holding(scene, entries) as (mine, _):
            if not mine:
                raise Snooze(f"{entity} is being read by somebody else", delay_s=HELD_WAIT_S)
            done = push(scene, mine, work.checkpoint, deletes=False)
        if isinstance(done.stopped, RemoteError):
            raise answer_to(done.stopped)
        with work.engine.connect() as connection:
            link = links.by_remote(connection, pair, [payload["remote_id"]], lock=False).get(payload["remote_id"])
            behind = outbox.find(connection, pair, [f"l:{link.local_id}"]) if link is not None else []
        if behind:
            with holding(scene, behind) as (mine, _):
                # Whoever else holds it pushes it; whatever is left is in the outbox for the next run.
                done.counts += push(scene, mine, work.checkpoint, deletes=False).counts
    return dict(done.counts)


def delivery_arguments(connection: str, headers: dict[str, str], body: str | bytes) -> dict[str, Json]:
    """As `webhook_arguments`, with the time at which it came, by the database's clock: a job may run an hour later.

    The body in pieces: a list may be longer than a run's row takes (`JobKind.spooled`).
    """
    taken = webhook_arguments(connection, headers, body)
    text = taken["body"]
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    received_at = in_transaction(clients.start_engine(), deliveries.unix_time)
    return {**taken, "body": pieces, "received_at": received_at}


def _describe_job(args: Args, payload: Json) -> str:
    if "ignored" in payload:
        return f"{args['connection']}: nothing for {', '.join(payload['ignored'])}"
    return f"{args['connection']}/{payload['kind']}: read {payload['remote_id']}"


WEBHOOK = JobKind(
    name="sync_webhook",
    queue="sync",
    start_name="receive_webhook",
    arguments=delivery_arguments,
    spooled=("body",),
    plan=plan_delivery,
    perform=perform_delivery,
    describe_start=lambda args: f"webhook of {args['connection']}",
    describe_job=_describe_job,
    backoff=Backoff(max_attempts=8, base_s=1, cap_s=300),
)
