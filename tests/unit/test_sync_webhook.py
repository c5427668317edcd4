"""Webhooks: who signed them, when, and what they are about."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tasks.sync import signature
from tasks.sync.signature import BadSignature, Scheme, sign, verify
from tasks.sync.webhook import BadWebhook, Webhook, WebhookEvent

SCHEMES = {
    name.lower(): value for name, value in vars(signature).items() if isinstance(value, Scheme) and name.isupper()
}
NOW = 1_795_348_800
BODY = b'{"id": 17, "name": "Hammer"}'


@pytest.mark.parametrize(
    "scheme, secret, headers, body, received_at",
    (
        # From "Validating webhook deliveries" of GitHub's documentation.
        (
            signature.GITHUB,
            "It's a Secret to Everybody",
            {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
            b"Hello, World!",
            0,
        ),
        # From the README of the Standard Webhooks' reference libraries.
        (
            signature.STANDARD_WEBHOOKS,
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            {
                "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "webhook-timestamp": "1614265330",
                "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
            1_614_265_330,
        ),
        # From "Verifying requests from Slack".
        (
            signature.SLACK,
            "8f742231b10e8888abcd99yyyzzz85a5",
            {
                "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                "X-Slack-Request-Timestamp": "1531420618",
            },
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
            b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
            b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
            b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
            1_531_420_618,
        ),
    ),
)
def test_the_providers_own_examples_fit(
    scheme: Scheme, secret: str, headers: dict[str, str], body: bytes, received_at: float
) -> None:
    """What a provider's documentation shows as signed is taken."""
    verify(scheme, [secret], headers, body, received_at=received_at)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())
def test_only_the_signed_body_is_taken(scheme: Scheme) -> None:
    """Another body, another secret, no signature, or half of one: refused, in every scheme."""
    headers = sign(scheme, "secret", BODY, timestamp=NOW, event_id="e1")
    verify(scheme, ["secret"], headers, BODY, received_at=NOW)
    upper = {name.upper(): value for name, value in headers.items()}
    verify(scheme, ["old", "secret", ""], upper, BODY, received_at=NOW)
    without = {name: value for name, value in headers.items() if name != scheme.header}
    empty = headers | {scheme.header: headers[scheme.header].replace(headers[scheme.header][-8:], "")}
    for secrets, sent, body in (
        (["secret"], headers, BODY + b" "),
        (["other"], headers, BODY),
        ([], headers, BODY),
        ([""], headers, BODY),
        (["secret"], without, BODY),
        (["secret"], {**without, scheme.header: ""}, BODY),
        (["secret"], {**without, scheme.header: "ü" * 20}, BODY),
        (["secret"], {**without, scheme.header: scheme.prefix}, BODY),
        (["secret"], empty, BODY),
    ):
        with pytest.raises(BadSignature):
            verify(scheme, secrets, sent, body, received_at=NOW)


@pytest.mark.parametrize("scheme", (signature.STRIPE, signature.SLACK, signature.STANDARD_WEBHOOKS))
def test_an_old_signature_is_refused(scheme: Scheme) -> None:
    """What is recorded and sent again later, or signed for later, is not taken; the time itself is under the signature."""
    headers = sign(scheme, "secret", BODY, timestamp=NOW, event_id="e1")
    for received_at in (NOW - 300, NOW + 300):
        verify(scheme, ["secret"], headers, BODY, received_at=received_at)
    for received_at in (NOW - 301, NOW + 301, NOW + 3600):
        with pytest.raises(BadSignature, match="signed more than"):
            verify(scheme, ["secret"], headers, BODY, received_at=received_at)
    for stamp in (str(NOW + 100), "", "soon", "9" * 40, "nan"):
        moved = {name: value.replace(str(NOW), stamp) for name, value in headers.items()}
        with pytest.raises(BadSignature):
            verify(scheme, ["secret"], moved, BODY, received_at=NOW + 50)


def test_a_connection_without_secrets_takes_nothing() -> None:
    """It says that the secret is missing, rather than that the signature is wrong."""
    for secrets in ([], [""]):
        with pytest.raises(BadSignature, match="no secret is configured"):
            verify(signature.GITHUB, secrets, sign(signature.GITHUB, "", BODY), BODY, received_at=NOW)
    with pytest.raises(BadSignature, match="no signature fits"):
        verify(signature.GITHUB, ["", "secret"], sign(signature.GITHUB, "", BODY), BODY, received_at=NOW)


def test_secrets_can_be_rotated() -> None:
    """Several secrets on our side, several signatures on theirs: one pair is enough."""
    old = sign(signature.STRIPE, "old", BODY, timestamp=NOW)["Stripe-Signature"]
    new = sign(signature.STRIPE, "new", BODY, timestamp=NOW)["Stripe-Signature"]
    both = {"Stripe-Signature": f"{old},{new.split(',')[1]},v0=0000"}
    for secrets in (["old"], ["new"], ["new", "old"]):
        verify(signature.STRIPE, secrets, both, BODY, received_at=NOW)


def test_a_webhook_names_its_records() -> None:
    """Ids may be numbers or texts, one or several, each once; the event's id is the provider's where it has one."""
    body = json.dumps(
        {"event": "e1", "items": [{"id": 3}, {"id": "a"}, {"id": 3}, {"id": None}, {"id": True}]}
    ).encode()
    hook = Webhook(signature.GITHUB, ids_at="items.*.id", event_id_at="event")
    headers = sign(signature.GITHUB, "secret", body, event_id="d1")

    def read(webhook: Webhook) -> WebhookEvent:
        return webhook.read(headers, body, secrets=["secret"], received_at=NOW)

    assert read(hook) == WebhookEvent("e1", ("3", "a"))
    assert read(replace(hook, event_id_at=None)).event_id == "d1"
    plain = Webhook(Scheme("X-Signature"), ids_at="items.*.id")
    event = plain.read(sign(plain.scheme, "secret", body), body, secrets=["secret"], received_at=NOW)
    assert len(event.event_id) == 64


@pytest.mark.parametrize("body", (b"", b"not JSON", b"[]", b"{}", b'{"id": null}', b'{"id": {}}', b"[" * 100_000))
def test_a_signed_body_of_another_shape_says_so(body: bytes) -> None:
    """What names no record is no event."""
    hook = Webhook(signature.GITHUB)
    with pytest.raises(BadWebhook):
        hook.read(sign(hook.scheme, "secret", body), body, secrets=["secret"], received_at=NOW)


def test_nothing_is_made_of_a_body_before_its_signature_fits() -> None:
    """An unsigned body is refused for that, whatever is in it."""
    with pytest.raises(BadSignature):
        Webhook(signature.GITHUB).read({}, b"not JSON", secrets=["secret"], received_at=NOW)
    with pytest.raises(BadWebhook, match="bytes"):
        Webhook(signature.GITHUB).read({}, b"x" * 2_000_000, secrets=["secret"], received_at=NOW)
