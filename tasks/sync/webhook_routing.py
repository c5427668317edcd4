"""Which kinds of record a webhook's delivery is for: one address often gets those of several, and of things nobody keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.sync.connections import SyncConnection, connector_of
from tasks.sync.signature import BadSignature
from tasks.sync.webhook import BadWebhook, OtherTopic, Webhook, WebhookEvent


@dataclass(frozen=True, slots=True)
class Routed:
    """``events``: by the kind of record that understands it; ``ignored``: why the other kinds leave it alone."""

    events: Mapping[str, WebhookEvent] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)


def route(connection: SyncConnection, headers: Mapping[str, str], body: bytes, *, received_at: float) -> Routed:
    """Who of the connection's kinds understands this delivery.

    One that is signed and about other topics is nobody's, and that is no error.  One that nobody signed, or that is signed and
    understood by none, raises `BadSignature` or `BadWebhook`, with each kind's reason.
    """
    hooks: dict[str, Webhook] = {}
    for kind in connection.kinds:
        webhook = connector_of(connection, kind).webhook
        if webhook is not None:
            hooks[kind.name] = webhook
    if not hooks:
        raise BadWebhook("no kind of record of this connection has a connector that describes webhooks")
    events: dict[str, WebhookEvent] = {}
    others: dict[str, BadSignature | BadWebhook] = {}
    for name, webhook in hooks.items():
        try:
            events[name] = webhook.read(headers, body, secrets=connection.webhook_secrets, received_at=received_at)
        except (BadSignature, BadWebhook) as error:
            others[name] = error
    ignored = {name: str(error) for name, error in others.items()}
    if not events and not all(isinstance(error, OtherTopic) for error in others.values()):
        said = "; ".join(f"{name}: {why}" for name, why in ignored.items())
        raise (BadSignature if all(isinstance(e, BadSignature) for e in others.values()) else BadWebhook)(said)
    return Routed(events, ignored)
