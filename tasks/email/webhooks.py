"""Providers' reports of bounces and complaints, read into one shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tasks.email.answers import Action, Stage, classify
from tasks.email.errors import EmailError

EVENTS = ("bounce", "soft_bounce", "block", "complaint", "unsubscribe", "delivered")
"""``block``: bounced by policy, which says nothing of the address."""


class UnknownEvent(EmailError):
    """A payload of no shape that is known here."""


class Event(NamedTuple):
    """One event about one recipient.  ``event``: one of `EVENTS`."""

    event: str
    address: str
    id: str
    message_id: str | None = None
    detail: str | None = None
    at: str | None = None

    @property
    def key(self) -> str:
        """What makes it one: the same report delivered twice has the same key."""
        return hashlib.sha256(json.dumps([self.event, self.address.lower(), self.id]).encode()).hexdigest()


def read_events(payload: Mapping[str, Any]) -> list[Event]:
    """The events of a webhook's payload; an empty list for a kind of report that is of no interest (an opened mail).

    Known are SES (bare, or within SNS), Postmark, Mailgun, and our own::

        {"event": "bounce", "address": "ann@example.com", "id": "4711", "message_id": "<…>", "detail": "550 5.1.1 …"}

    Raises `UnknownEvent`, saying what is missing.
    """
    if not isinstance(payload, Mapping):
        raise UnknownEvent(f"a webhook's payload is a JSON object, not {type(payload).__name__}")
    try:
        if isinstance(payload.get("Message"), str) and "Type" in payload:
            return list(_ses(json.loads(payload["Message"]), str(payload.get("MessageId", ""))))
        if "mail" in payload and ("notificationType" in payload or "eventType" in payload):
            return list(_ses(payload, ""))
        if "RecordType" in payload:
            return list(_postmark(payload))
        if "event-data" in payload:
            return list(_mailgun(payload["event-data"]))
        if "event" in payload:
            return list(_own(payload))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UnknownEvent(f"the report lacks something that reports of its kind have: {error!r}") from error
    raise UnknownEvent(
        "a report of no known shape: SES, SNS, Postmark, Mailgun, or {'event', 'address', 'id'} "
        f"are known; this one has {', '.join(sorted(map(str, payload))[:10]) or 'nothing'}"
    )


def _ses(message: Mapping[str, Any], envelope_id: str) -> Iterator[Event]:
    kind = str(message.get("notificationType") or message.get("eventType")).lower()
    mail = message["mail"]
    message_id = (mail.get("commonHeaders") or {}).get("messageId")
    if kind == "bounce":
        bounce = message["bounce"]
        for recipient in bounce["bouncedRecipients"]:
            said = " ".join(filter(None, (recipient.get("status"), recipient.get("diagnosticCode"))))
            event = _bounce(permanent=bounce["bounceType"] == "Permanent", said=said)
            identity = str(bounce.get("feedbackId") or envelope_id or mail["messageId"])
            yield Event(event, recipient["emailAddress"], identity, message_id, said or None, bounce.get("timestamp"))
    elif kind == "complaint":
        complaint = message["complaint"]
        for recipient in complaint["complainedRecipients"]:
            identity = str(complaint.get("feedbackId") or envelope_id or mail["messageId"])
            said = complaint.get("complaintFeedbackType")
            yield Event("complaint", recipient["emailAddress"], identity, message_id, said, complaint.get("timestamp"))
    elif kind == "delivery":
        for address in message["delivery"]["recipients"]:
            at = message["delivery"].get("timestamp")
            yield Event("delivered", address, str(mail["messageId"]), message_id, None, at)


def _postmark(payload: Mapping[str, Any]) -> Iterator[Event]:
    kind = payload["RecordType"]
    message_id = (payload.get("Metadata") or {}).get("message_id")
    if kind == "Bounce":
        said = str(payload.get("Details") or payload.get("Description") or "")
        event = _bounce(permanent=payload.get("Type") in ("HardBounce", "BadEmailAddress"), said=said)
        if payload.get("Type") in ("Blocked", "DMARCPolicy", "SMTPApiError"):
            event = "block"
        yield Event(event, payload["Email"], str(payload["ID"]), message_id, said or None, payload.get("BouncedAt"))
    elif kind == "SpamComplaint":
        at = payload.get("BouncedAt")
        yield Event("complaint", payload["Email"], str(payload["ID"]), message_id, None, at)
    elif kind == "SubscriptionChange" and payload.get("SuppressSending"):
        at = payload.get("ChangedAt")
        yield Event("unsubscribe", payload["Recipient"], str(payload["MessageID"]), message_id, None, at)
    elif kind == "Delivery":
        yield Event("delivered", payload["Recipient"], str(payload["MessageID"]), message_id)


def _mailgun(data: Mapping[str, Any]) -> Iterator[Event]:
    kind = data["event"]
    message_id = ((data.get("message") or {}).get("headers") or {}).get("message-id")
    status = data.get("delivery-status") or {}
    said = f"{status.get('code') or ''} {status.get('message') or status.get('description') or ''}".strip()
    event = {"complained": "complaint", "unsubscribed": "unsubscribe", "delivered": "delivered"}.get(kind)
    if kind == "failed":
        event = _bounce(permanent=data.get("severity") == "permanent", said=said)
    if event:
        at = str(data["timestamp"]) if "timestamp" in data else None
        yield Event(event, data["recipient"], str(data["id"]), message_id, said or None, at)


def _own(payload: Mapping[str, Any]) -> Iterator[Event]:
    event, address, identity = payload["event"], payload["address"], payload["id"]
    if event not in EVENTS or not isinstance(address, str) or not address:
        raise ValueError(f"event={event!r}, address={address!r}: the event is one of {', '.join(EVENTS)}")
    yield Event(event, address, str(identity), payload.get("message_id"), payload.get("detail"), payload.get("at"))


def _bounce(*, permanent: bool, said: str) -> str:
    """A bounce by policy must not cost a real address, whatever its provider calls it."""
    if not permanent:
        return "soft_bounce"
    words = said.split()
    while words and not words[0][:1].isdigit() and len(words) > 1:
        words = words[1:]
    if words and len(words[0]) == 3 and words[0].isdigit():
        words = words[1:]
    meant = classify(Stage.RCPT, 550, " ".join(words) or said).action
    return "block" if meant in (Action.POLICY, Action.MESSAGE, Action.STOP) else "bounce"
