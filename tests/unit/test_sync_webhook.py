"""Webhooks: who signed them, when, and what they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tasks.errors import BadArguments
from tasks.settings import settings
from tasks.sync import signature
from tasks.sync.arguments import webhook_arguments
from tasks.sync.connections import SyncConnection, SyncKind, forget_connectors
from tasks.sync.signature import BadSignature, Scheme, sign, verify
from tasks.sync.webhook import MAX_BODY_BYTES, BadWebhook, Webhook, WebhookEvent
from tasks.sync.webhook_routing import Routed, route
from tests.sync_api import Api

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


def test_without_an_id_a_body_is_known_by_the_time_that_was_signed_with_it() -> None:
    """And without such a time it is never known again: two edits may have the same body."""
    timed = Webhook(signature.SLACK)

    def event_id(webhook: Webhook, timestamp: int) -> str | None:
        headers = sign(webhook.scheme, "secret", BODY, timestamp=timestamp)
        return webhook.read(headers, BODY, secrets=["secret"], received_at=NOW).event_id

    assert event_id(timed, NOW) == event_id(timed, NOW) != event_id(timed, NOW + 1)
    assert event_id(Webhook(Scheme("X-Signature")), 0) is None


def test_ids_that_no_table_can_hold_are_no_ids() -> None:
    """Too long, empty, or half of a surrogate pair; the others count."""
    body = json.dumps({"items": [{"id": "x" * 192}, {"id": ""}, {"id": "\ud800"}, {"id": "x" * 191}]}).encode()
    hook = Webhook(signature.GITHUB, ids_at="items.*.id")
    event = hook.read(sign(hook.scheme, "secret", body), body, secrets=["secret"], received_at=NOW)
    assert event.remote_ids == ("x" * 191,)


def test_a_secret_that_is_no_base64_is_called_so() -> None:
    """Not retried as if it were the network's fault, and not shown."""
    headers = sign(signature.STANDARD_WEBHOOKS, "other", BODY, timestamp=NOW, event_id="e")
    with pytest.raises(BadSignature, match="not base64") as refused:
        verify(signature.STANDARD_WEBHOOKS, ["whsec_abcde"], headers, BODY, received_at=NOW)
    assert "abcde" not in str(refused.value)


# -- a connection of several kinds ----------------------------------------------------------------------------------------


def shop(monkeypatch: pytest.MonkeyPatch, **hooks: Webhook | None) -> SyncConnection:
    """A connection with a kind for each of these, and the secret ``secret``."""
    monkeypatch.setenv("SYNC_CONNECTION_ROUTED", "http://nowhere.invalid")
    monkeypatch.setenv("SYNC_WEBHOOK_SECRET_ROUTED", "secret")
    settings.cache_clear()
    kinds = tuple(
        SyncKind(name, lambda _, hook=hook: Api(webhook=hook), name, "id", ("name",), "remote")  # type: ignore[misc]
        for name, hook in hooks.items()
    )
    return SyncConnection("routed", kinds)


@pytest.fixture(autouse=True)
def no_connectors() -> Iterator[None]:
    forget_connectors()
    yield
    forget_connectors()
    settings.cache_clear()


def routed(connection: SyncConnection, body: bytes, secret: str = "secret", **headers: str) -> Routed:
    signed = sign(signature.GITHUB, secret, body, event_id="e1")
    return route(connection, {**signed, **headers}, body, received_at=NOW)


def test_a_delivery_goes_to_the_kinds_that_understand_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others leave it alone and say why; a kind without webhooks says nothing."""
    hooks = {"items": Webhook(signature.GITHUB), "orders": Webhook(signature.GITHUB, ids_at="order.id"), "plain": None}
    connection = shop(monkeypatch, **hooks)
    found = routed(connection, b'{"id": 17}')
    assert found.events == {"items": WebhookEvent("e1", ("17",))}
    assert found.ignored == {"orders": "no record's id stands at 'order.id' of the body"}
    both = routed(connection, b'{"id": 17, "order": {"id": 5}}')
    assert {name: event.remote_ids for name, event in both.events.items()} == {"items": ("17",), "orders": ("5",)}
    assert both.ignored == {}


def test_topics_say_whose_a_delivery_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a header or by a place in the body; what nobody asks for is nobody's, and no error."""
    connection = shop(
        monkeypatch,
        items=Webhook(signature.GITHUB, topics=("product.*",), topic_header="X-Topic"),
        orders=Webhook(signature.GITHUB, topics=("order.made", "order.paid"), topic_at="type"),
    )
    product = routed(connection, b'{"id": 17, "type": "product"}', **{"x-topic": "product.updated"})
    assert set(product.events) == {"items"} and "topic 'product' is none of" in product.ignored["orders"]
    order = routed(connection, b'{"id": 17, "type": "order.paid"}')
    assert set(order.events) == {"orders"} and "topic 'None'" in order.ignored["items"]
    ping = routed(connection, b'{"zen": "Keep it simple"}', **{"X-Topic": "ping"})
    assert ping.events == {} and set(ping.ignored) == {"items", "orders"}


def test_a_delivery_that_nobody_understands_is_an_error_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed and of no known shape, unsigned, or of a connection without webhooks."""
    connection = shop(
        monkeypatch, items=Webhook(signature.GITHUB), orders=Webhook(signature.GITHUB, topics=("x",), topic_at="type")
    )
    with pytest.raises(BadWebhook, match=r"items: no record's id stands at 'id'.*orders: topic 'None' is none of x"):
        routed(connection, b"{}")
    with pytest.raises(BadSignature, match=r"items: no signature fits; orders: no signature fits"):
        routed(connection, b'{"id": 17}', secret="guessed")
    forget_connectors()
    with pytest.raises(BadWebhook, match="no kind of record"):
        routed(shop(monkeypatch, items=None), b'{"id": 17}')


@pytest.mark.parametrize("wrong", ({"topics": ("x",)}, {"topic_header": "X-Topic"}, {"topic_at": "type"}), ids=str)
def test_topics_and_their_place_go_together(wrong: dict[str, Any]) -> None:
    """One without the other would take everything, or nothing."""
    with pytest.raises(ValueError, match="go together"):
        Webhook(signature.GITHUB, **wrong)


# -- what a start takes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def declared_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SYNC", "tests.sync_api:CONNECTION")
    settings.cache_clear()


@pytest.mark.usefixtures("declared_connection")
@pytest.mark.parametrize(
    "wrong, what",
    [
        ({"connection": "nobody"}, "there is no connection 'nobody' here; known: memory"),
        ({"body": b"\xff"}, "not UTF-8"),
        ({"body": "\ud800"}, "not UTF-8"),
        ({"body": b"x" * (MAX_BODY_BYTES + 1)}, "at most 1048576 bytes"),
        ({"body": "é" * (MAX_BODY_BYTES - 1)}, "at most 1048576"),
        ({"body": {"id": 1}}, "as it came"),
        ({"headers": [("a", "b")]}, "headers: a dict"),
        ({"headers": {"a": 1}}, "headers: a dict"),
    ],
    ids=["connection", "bytes", "surrogate", "huge", "huge in bytes", "parsed", "list", "numbers"],
)
def test_a_delivery_that_cannot_be_one_is_refused_when_it_is_handed_over(wrong: dict[str, Any], what: str) -> None:
    """The web handler that calls `receive_webhook` gets the error; nothing is queued."""
    given: dict[str, Any] = {"connection": "memory", "headers": {}, "body": "{}", **wrong}
    with pytest.raises(BadArguments, match=re.escape(what)):
        webhook_arguments(**given)


@pytest.mark.usefixtures("declared_connection")
def test_headers_that_carry_secrets_are_not_kept() -> None:
    """What a signature needs is kept, whatever it is called; a shared token or a cookie is in no table."""
    kept = {"X-Hub-Signature-256": "sha256=00", "X-Token-Signature": "1", "Webhook-Id": "e1"}
    secret = dict.fromkeys(
        ("Authorization", "proxy-authorization", "Cookie", "X-Gitlab-Token", "X-API-Key", "x-shared-secret"), "s3cret"
    )
    assert webhook_arguments("memory", {**kept, **secret}, b"{}")["headers"] == kept
