"""Delivering webhooks as a kind of job: one run per endpoint at a time, one job per delivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection

from examples.webhooks import outbox
from examples.webhooks.post import NoAnswer, post
from tasks import clients
from tasks.errors import BadArguments, Permanent, Retry, Snooze
from tasks.kinds import Args, Backoff, JobKind, Json, Work

SLOW_DOWN_S = 30.0
"""How long to wait after a 429 that does not say how long."""


def webhook_arguments(endpoint_id: str, url: str) -> dict[str, Json]:
    """``endpoint_id``: whose webhooks; ``url``: where to POST them.  Raises `BadArguments`."""
    if not isinstance(endpoint_id, str) or not endpoint_id:
        raise BadArguments(f"endpoint_id={endpoint_id!r}: give the name under which its webhooks were added")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise BadArguments(f"url={url!r}: give an http:// or https:// address")
    return {"endpoint_id": endpoint_id, "url": url}


def plan_deliveries(args: Args) -> Iterator[Json]:
    """One job for each webhook that the endpoint has not received yet."""
    with clients.engine().connect() as connection:
        for webhook_id in outbox.waiting(connection, args["endpoint_id"]):
            yield {"webhook_id": webhook_id}


def deliver(work: Work) -> dict[str, Any]:
    """POST one webhook; what its answer means for the job is all that stands here."""
    webhook_id = work.payload["webhook_id"]
    # A checkpoint commits only while this worker still holds the job and its run runs: after a cancel nothing is sent.
    webhook = work.checkpoint(lambda connection: outbox.begin(connection, webhook_id))
    if webhook is None:
        raise Permanent(f"webhook {webhook_id} is not in the outbox any more")
    if webhook.delivered:
        return {"status": None}
    try:
        answer = post(work.args["url"], webhook.body.encode(), idempotency_key=webhook.event_id)
    except NoAnswer as error:
        raise Retry(str(error)) from error
    if answer.status == 429:
        raise Snooze("429: slow down", delay_s=SLOW_DOWN_S if answer.retry_after_s is None else answer.retry_after_s)
    if answer.status >= 500:
        raise Retry(f"the endpoint answered {answer.status}", not_before_s=answer.retry_after_s or 0.0)
    if not 200 <= answer.status < 300:
        raise Permanent(f"the endpoint answered {answer.status}", code=str(answer.status))

    def delivered(connection: Connection) -> None:
        outbox.end(connection, webhook_id, answer.status)

    work.on_record(delivered)
    return {"status": answer.status}


DELIVER_WEBHOOKS = JobKind(
    name="webhooks",
    queue="webhooks",
    arguments=webhook_arguments,
    admission_key=lambda args: str(args["endpoint_id"]),
    plan=plan_deliveries,
    perform=deliver,
    describe_start=lambda args: f"{args['endpoint_id']} → {urlsplit(args['url']).hostname}",
    backoff=Backoff(max_attempts=8, base_s=30, cap_s=3600),
    timeout_s=60,
)
