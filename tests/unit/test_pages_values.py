"""Roles, masks, tokens and texts, by their tables."""

from __future__ import annotations

import pytest

from ops.errors import UsageError
from ops.pages import csrf, markup, show
from ops.pages.charts import bars, meter
from ops.pages.masking import MASK, is_secret, masked, unmasked
from ops.pages.roles import Role, Roles


@pytest.mark.parametrize(
    ("rules", "name", "role"),
    [
        (None, "holdfast", Role.ADMIN),
        (None, "anna", Role.VIEWER),
        ("bob=operator", "holdfast", Role.ADMIN),
        ("bob=operator", "bob", Role.OPERATOR),
        ("bob=operator", "anna", Role.NONE),
        ("*=viewer,bob=admin", "bob", Role.ADMIN),
        ("*@example.com=operator,*=viewer", "a@example.com", Role.OPERATOR),
        ("*@example.com=operator", "a@example.com.evil.org", Role.NONE),
        ("holdfast=viewer", "holdfast", Role.VIEWER),
        ("bo=admin", "bob", Role.NONE),
        ("Bob=admin", "bob", Role.NONE),
    ],
)
def test_the_role_of_a_user(rules: str | None, name: str, role: Role) -> None:
    """Names before patterns; the generated user is an admin unless named; whoever is not named has no role."""
    assert Roles.parse(rules, admin="holdfast").of(name) is role


@pytest.mark.parametrize("rules", ["bob", "bob=root", "=admin", "bob=operator,,x", "bob=none"])
def test_roles_that_cannot_be_are_refused(rules: str) -> None:
    """At the start, naming the rule."""
    with pytest.raises(UsageError, match="FLOWER_ROLES"):
        Roles.parse(rules, admin="holdfast")


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "passwd",
        "pwd",
        "clientSecret",
        "api_key",
        "apiKey",
        "API-KEY",
        "accessToken",
        "privateKey",
        "Authorization",
        "cookie",
        "credentials",
        "session_id",
        "signing_key",
        "x-auth-token",
        "smtp.pass",
        "passphrase",
    ],
)
def test_names_of_secrets(name: str) -> None:
    """However they are written."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["key", "keys", "admission_key", "idempotency_key", "author", "passenger", "monkey", "sort_key"]
)
def test_names_that_are_none(name: str) -> None:
    """What our kinds and people's data are full of stays readable."""
    assert not is_secret(name)


def test_masks_keep_the_shape() -> None:
    """Secrets anywhere in the document, users in addresses; what is empty is no secret."""
    given = {"a": [{"password": "x", "n": 1}], "token": "", "url": "redis://:pw@host/1", "secret": {"deep": 1}}
    assert masked(given) == {
        "a": [{"password": MASK, "n": 1}],
        "token": "",
        "url": f"redis://{MASK}@host/1",
        "secret": MASK,
    }


def test_a_mask_stands_for_its_own_value_alone() -> None:
    """Where it stood, in a list of the same length; nowhere else."""
    original = {"users": [{"password": "a"}, {"password": "b"}]}
    assert unmasked({"users": [{"password": MASK}, {"password": "c"}]}, original) == {
        "users": [{"password": "a"}, {"password": "c"}]
    }
    for moved in (
        {"users": [{"password": MASK}]},
        {"password": MASK},
        {MASK: 1},
        {"users": MASK},
        {"users": [MASK, MASK]},
    ):
        with pytest.raises(UsageError, match="mask"):
            unmasked(moved, original)


def test_a_token_fits_one_cookie_and_one_user() -> None:
    """Another secret, nonce, user or none: no."""
    token = csrf.token(b"secret", "nonce", "anna")
    assert csrf.fits(b"secret", "nonce", "anna", token)
    for secret, nonce, user, given in (
        (b"other", "nonce", "anna", token),
        (b"secret", "other", "anna", token),
        (b"secret", "nonce", "bob", token),
        (b"secret", None, "anna", token),
        (b"secret", "nonce", "anna", None),
        (b"secret", "", "anna", csrf.token(b"secret", "", "anna")),
    ):
        assert not csrf.fits(secret, nonce, user, given)


def test_text_is_escaped_and_what_steers_it_is_visible() -> None:
    """Markup, quotes, controls, direction marks; line ends stay."""
    assert show.show("<b>\"'&\u202e\x1b\n") == "&lt;b&gt;&quot;&#x27;&amp;\\u202e\\x1b\n" or "&#39;" in show.show("'")
    assert "<code>&lt;x&gt;</code>" in markup.prose("run `<x>` now")


def test_charts_of_nothing_and_of_much() -> None:
    """No division by zero; shares add up to the width."""
    assert "<svg" in bars([]) and "<svg" in meter(0, 0, 0)
    assert 'width="50.00"' in meter(10, 5, 0)
