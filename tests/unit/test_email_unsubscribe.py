"""Unsubscribe tokens: sealed, unforgeable, lasting, and readable by every key that is kept."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.email.errors import BadToken, NoUnsubscribe
from tasks.email.unsubscribe import MAX_TOKEN_CHARS, Unsubscriber, Unsubscription

pytestmark = pytest.mark.unit

OLD = "k1:" + "a" * 32
NEW = "k2:" + "b" * 32
BASE = "https://example.com/unsubscribe"
SAID = Unsubscription("anna@example.com", "global", "winter")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@settings(deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_a_token_says_what_was_sealed(identity: str, scope: str, campaign: str) -> None:
    """Whatever the address, the scope and the campaign are called."""
    unsubscriber = Unsubscriber(OLD, BASE)
    said = Unsubscription(identity, scope, campaign)
    assert unsubscriber.open(unsubscriber.token(said)) == said


def test_a_token_shows_no_address() -> None:
    """Neither as it is nor in base64; equal recipients of two campaigns have nothing in common."""
    unsubscriber = Unsubscriber(OLD, BASE)
    token = unsubscriber.token(SAID)
    sealed = base64.urlsafe_b64decode(token.partition(".")[2] + "==")
    assert b"anna" not in sealed and "anna" not in token and b"example" not in sealed
    other = base64.urlsafe_b64decode(unsubscriber.token(SAID._replace(campaign_id="spring")).partition(".")[2] + "==")
    assert sum(a == b for a, b in zip(sealed, other, strict=False)) < 8


def test_tokens_are_the_same_for_the_same_recipient() -> None:
    """So that a message made twice is the same message."""
    assert Unsubscriber(OLD, BASE).token(SAID) == Unsubscriber(OLD, BASE).token(SAID)


def test_every_changed_character_is_noticed() -> None:
    """Nobody unsubscribes somebody else by trying."""
    unsubscriber = Unsubscriber(f"{OLD},{NEW}", BASE)
    token = unsubscriber.token(SAID)
    for place in range(len(token)):
        for char in "AB.-":
            forged = token[:place] + char + token[place + 1 :]
            try:
                # The last character of base64 has bits that mean nothing.
                assert forged == token or (unsubscriber.open(forged) == SAID and place == len(token) - 1)
            except BadToken:
                continue


@pytest.mark.parametrize(
    "token",
    ["", ".", "k1", "k1.", "k1.AAAA", "k9.AAAA", "k1.ü", "k1." + "A" * MAX_TOKEN_CHARS, "k1.A", "k1.%", "\0", "k1.\ud800"]
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    """A web handler meets anything; it gets one kind of error, which shows nothing."""
    with pytest.raises(BadToken):
        Unsubscriber(OLD, BASE).open(token)


def test_keys_can_be_changed() -> None:
    """The first one seals; older ones open as long as they are kept, and not longer."""
    old = Unsubscriber(OLD, BASE).token(SAID)
    both = Unsubscriber(f"{NEW},{OLD}", BASE)
    assert both.open(old) == SAID and both.token(SAID).startswith("k2.")
    with pytest.raises(BadToken):
        Unsubscriber(NEW, BASE).open(old)
    with pytest.raises(BadToken):
        Unsubscriber(NEW.replace("k2", "k1"), BASE).open(old)


def test_a_key_id_is_part_of_the_seal() -> None:
    """The same secret under another name opens nothing."""
    token = Unsubscriber("k1:" + "a" * 32, BASE).token(SAID)
    with pytest.raises(BadToken):
        Unsubscriber("k3:" + "a" * 32, BASE).open("k3" + token[2:])


@pytest.mark.parametrize(
    "base, url",
    [
        ("https://example.com/u", "https://example.com/u/TOKEN"),
        ("https://example.com/u/", "https://example.com/u/TOKEN"),
        ("https://example.com/u?t={token}&x=1", "https://example.com/u?t=TOKEN&x=1"),
        ("https://example.com/u?t=", "https://example.com/u?t=TOKEN"),
        ("http://127.0.0.1:8000/u", "http://127.0.0.1:8000/u/TOKEN"),
    ],
)
def test_links_are_built_from_the_setting(base: str, url: str) -> None:
    """The token goes to the end, or where the setting wants it."""
    unsubscriber = Unsubscriber(OLD, base)
    assert unsubscriber.url(SAID) == url.replace("TOKEN", unsubscriber.token(SAID))


@pytest.mark.parametrize("keys", ["", "k1", "k1:short", ":" + "a" * 32, "k 1:" + "a" * 32, ","])
def test_weak_or_missing_keys_are_refused_without_being_shown(keys: str) -> None:
    """The message says how to make one, and holds no secret."""
    with pytest.raises(NoUnsubscribe) as error:
        Unsubscriber(keys, BASE)
    assert "EMAIL_UNSUBSCRIBE_KEYS" in str(error.value) and "short" not in str(error.value).replace("shorten", "")


@pytest.mark.parametrize(
    "base",
    ["", "http://example.com/u", "ftp://x", "https://example.com/a b", "https://exämple.com", "https://x/>\r\nX: y"],
)
def test_links_must_be_https(base: str) -> None:
    """RFC 8058, 3.1: mail clients post to no other; and nothing in it may end the header."""
    with pytest.raises(NoUnsubscribe, match="EMAIL_UNSUBSCRIBE_URL"):
        Unsubscriber(OLD, base)
