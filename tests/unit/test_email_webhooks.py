"""Providers' reports, each shape as it comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.email.webhooks import UnknownEvent, read_events


def ses(kind: str, status: str = "5.1.1", said: str = "smtp; 550 5.1.1 user unknown") -> dict[str, Any]:
    return {
        "notificationType": "Bounce",
        "mail": {"messageId": "ses-1", "commonHeaders": {"messageId": "<a@b>"}},
        "bounce": {
            "bounceType": kind,
            "feedbackId": "f-1",
            "timestamp": "2026-11-22T05:00:00Z",
            "bouncedRecipients": [{"emailAddress": "ann@example.com", "status": status, "diagnosticCode": said}],
        },
    }


POSTMARK = {
    "RecordType": "Bounce",
    "Type": "HardBounce",
    "ID": 4711,
    "MessageID": "p-1",
    "Email": "ann@example.com",
    "BouncedAt": "2026-11-22T05:00:00Z",
    "Details": "smtp;550 5.1.1 user unknown",
}
MAILGUN: dict[str, Any] = {
    "signature": {"token": "t"},
    "event-data": {
        "event": "failed",
        "severity": "permanent",
        "id": "m-1",
        "timestamp": 1795323600.5,
        "recipient": "ann@example.com",
        "message": {"headers": {"message-id": "a@b"}},
        "delivery-status": {"code": 550, "message": "5.1.1 no such user"},
    },
}
COMPLAINT = {
    "eventType": "Complaint",
    "mail": {"messageId": "ses-1"},
    "complaint": {"complainedRecipients": [{"emailAddress": "ann@example.com"}], "feedbackId": "f-2"},
}


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (ses("Permanent"), "bounce"),
        (ses("Transient", "4.2.2", "smtp; 452 4.2.2 mailbox full"), "soft_bounce"),
        (ses("Permanent", "5.7.1", "smtp; 550 5.7.1 blocked"), "block"),
        ({"Type": "Notification", "MessageId": "sns-1", "Message": json.dumps(ses("Permanent"))}, "bounce"),
        (COMPLAINT, "complaint"),
        (POSTMARK, "bounce"),
        ({**POSTMARK, "Type": "SoftBounce"}, "soft_bounce"),
        ({**POSTMARK, "Type": "Blocked"}, "block"),
        ({**POSTMARK, "RecordType": "SpamComplaint"}, "complaint"),
        (MAILGUN, "bounce"),
        ({"event-data": {**MAILGUN["event-data"], "severity": "temporary"}}, "soft_bounce"),
        ({"event-data": {**MAILGUN["event-data"], "event": "complained"}}, "complaint"),
        ({"event-data": {**MAILGUN["event-data"], "event": "unsubscribed"}}, "unsubscribe"),
        ({"event": "bounce", "address": "ann@example.com", "id": 1}, "bounce"),
    ],
)
def test_each_shape_is_read_as_one_event(payload: dict[str, Any], event: str) -> None:
    """Address and meaning; a block by policy is no bounce of the address."""
    (found,) = read_events(payload)
    assert (found.event, found.address) == (event, "ann@example.com")
    assert found.id


def test_a_report_delivered_twice_has_one_key_and_two_reports_have_two() -> None:
    """Whatever the case of the address."""
    (first,), (again,) = read_events(POSTMARK), read_events({**POSTMARK, "Email": "ANN@example.com"})
    (other,) = read_events({**POSTMARK, "ID": 4712})
    assert first.key == again.key != other.key


@pytest.mark.parametrize(
    "payload", [{"event-data": {**MAILGUN["event-data"], "event": "opened"}}, {"RecordType": "Open", "ID": 1}]
)
def test_reports_of_no_interest_are_no_events(payload: dict[str, Any]) -> None:
    """An opened mail says nothing here."""
    assert read_events(payload) == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"hello": 1},
        [],
        {"event": "bounce"},
        {"event": "boom", "address": "a@example.com", "id": 1},
        {"Type": "Notification", "Message": "no json"},
        {"RecordType": "Bounce"},
        {"event-data": "x"},
        {"mail": {}, "notificationType": "Bounce"},
    ],
)
def test_what_is_no_report_is_refused_with_what_is_missing(payload: Any) -> None:
    """One error class for the web handler, never a KeyError."""
    with pytest.raises(UnknownEvent):
        read_events(payload)
