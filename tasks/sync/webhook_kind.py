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
from tasks.sync.connections import connection_named, connector_of
from tasks.sync.connector import RemoteError
from tasks.sync.entity_locks import entities_held
from tasks.sync.kind import HELD_WAIT_S, answer_to, calling, failing_the_run, scene_for
from tasks.sync.links import Pair
from tasks.sync.push import push
from tasks.sync.signature import BadSignature
from tasks.sync.webhook import BadWebhook, Webhook, WebhookEvent

NO_WEBHOOKS = "connection {!r} has no kind whose connector describes webhooks"


def plan_delivery(args: Args) -> Iterator[Json]:
    """One job for each record of each kind that the delivery is about; none for a delivery that was taken before.

    A wrong signature fails the run: somebody should know.
    """
    connection = connection_named(args["connection"])
    body = args["body"].encode()
    received_at = float(args["received_at"])
    events: list[tuple[str, WebhookEvent]] = []
    for kind in connection.kinds:
        webhook: Webhook | None = connector_of(connection, kind).webhook
        if webhook is None:
            continue
        try:
            event = webhook.read(args["headers"], body, secrets=connection.webhook_secrets, received_at=received_at)
        except (BadSignature, BadWebhook) as error:
            raise FailRun(f"webhook of connection {connection.name!r}: {error}") from error
        events.append((kind.name, event))
    if not events:
        raise FailRun(NO_WEBHOOKS.format(connection.name))
    for kind_name, event in events:
        for remote_id in event.remote_ids:
            digest = hashlib.sha256(f"{kind_name}\0{event.event_id}\0{remote_id}".encode()).hexdigest()
            yield {"kind": kind_name, "remote_id": remote_id, "delivery": digest}


def perform_delivery(work: Work) -> Mapping[str, Json]:
    """Read one record as it is now, and take it in as a pull would; what it leaves to push is pushed."""
    payload = work.payload
    pair = Pair(work.args["connection"], payload["kind"])
    entity = f"r:{payload['remote_id']}"

    def take(connection: Connection) -> list[outbox.Entry]:
        if not deliveries.take(connection, pair.connection, payload["delivery"], work.run_id):
            return []
        if not outbox.find(connection, pair, [entity]):
            outbox.add(connection, pair, [entity])
        return outbox.find(connection, pair, [entity])

    entries = work.checkpoint(take)
    if not entries:
        return {"taken_before": 1}
    with failing_the_run():
        scene = scene_for(work, *pair)
    with calling(work, scene):
        with entities_held(clients.redis(), pair, entries, clients.who()) as (mine, _):
            if not mine:
                raise Snooze(f"{entity} is being read by somebody else", delay_s=HELD_WAIT_S)
            done = push(scene, mine, work.checkpoint, deletes=False)
        if isinstance(done.stopped, RemoteError):
            raise answer_to(done.stopped)
        with work.engine.connect() as connection:
            link = links.by_remote(connection, pair, [payload["remote_id"]], lock=False).get(payload["remote_id"])
            behind = outbox.find(connection, pair, [f"l:{link.local_id}"]) if link is not None else []
        if behind:
            with entities_held(clients.redis(), pair, behind, clients.who()) as (mine, _):
                # Whoever else holds it pushes it; whatever is left is in the outbox for the next run.
                done.counts += push(scene, mine, work.checkpoint, deletes=False).counts
    return dict(done.counts)


def delivery_arguments(connection: str, headers: dict[str, str], body: str | bytes) -> dict[str, Json]:
    """As `webhook_arguments`, with the time at which it came, by the database's clock: a job may run an hour later."""
    taken = webhook_arguments(connection, headers, body)
    received_at = in_transaction(clients.start_engine(), deliveries.unix_time)
    return {**taken, "received_at": received_at}


WEBHOOK = JobKind(
    name="sync_webhook",
    queue="sync",
    start_name="receive_webhook",
    arguments=delivery_arguments,
    plan=plan_delivery,
    perform=perform_delivery,
    describe_start=lambda args: f"webhook of {args['connection']}, {len(args['body'])} bytes",
    describe_job=lambda args, payload: f"{args['connection']}/{payload['kind']}: read {payload['remote_id']}",
    backoff=Backoff(max_attempts=8, base_s=1, cap_s=300),
)
