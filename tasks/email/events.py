"""Bounces and complaints that a provider reports after it took a message: each acts once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from tasks.email.addresses import identity_of
from tasks.email.suppressions import GLOBAL, suppress
from tasks.email.webhooks import Event, read_events

SUPPRESS = {"bounce": "bounce", "complaint": "complaint", "unsubscribe": "unsubscribe"}


def ingest_event(connection: Connection, payload: Mapping[str, Any], *, scope: str = GLOBAL) -> list[Event]:
    """Take in a provider's webhook, in the caller's transaction; the events that were new.

    A hard bounce, a complaint and an unsubscription suppress the address in ``scope``; the ledger's row of the message says
    what was reported, and one in doubt is known to be sent.  The same report again changes nothing.  Whether the request
    comes from the provider (signature, secret path) is the web handler's to check.

    Raises `tasks.email.webhooks.UnknownEvent`, ValueError for a scope that is none.
    """
    return [event for event in read_events(payload) if _ingest(connection, event, scope)]


def _ingest(connection: Connection, event: Event, scope: str) -> bool:
    identity = identity_of(event.address.strip())[:320]
    message_id = event.message_id if event.message_id and event.message_id.isascii() else None
    if message_id is not None and not message_id.startswith("<"):
        message_id = f"<{message_id}>"
    new = connection.execute(
        text(
            "INSERT IGNORE INTO email_events (event_key, event, address, message_id, detail, happened_at, received_at)"
            " VALUES (:key, :event, :address, :message_id, :detail, :at, NOW(6))"
        ),
        {
            "key": event.key,
            "event": event.event,
            "address": identity,
            "message_id": message_id[:191] if message_id else None,
            "detail": str(event.detail)[:500] if event.detail else None,
            "at": str(event.at)[:40] if event.at else None,
        },
    )
    if new.rowcount != 1:
        return False
    if event.event in SUPPRESS:
        detail = str(event.detail) if event.detail else None
        suppress(connection, event.address, reason=SUPPRESS[event.event], scope=scope, detail=detail)
    if message_id is not None:
        connection.execute(
            text(
                "UPDATE email_recipients SET event = :event, event_at = NOW(6),"
                # A report about the message proves that it was taken.
                " sent_at = IF(state = 'in_doubt', sending_at, sent_at),"
                " reason = IF(state = 'in_doubt', 'was in doubt; the provider reported on it', reason),"
                " state = IF(state = 'in_doubt', 'sent', state), changed_at = NOW(6)"
                " WHERE message_id = :message_id AND identity = :identity"
            ),
            {"event": event.event, "message_id": message_id[:191], "identity": identity},
        )
    return True
