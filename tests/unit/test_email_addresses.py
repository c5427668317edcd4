"""Addresses: what is taken, in which form, and what counts as the same."""

from __future__ import annotations

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.email.addresses import Address, identity_of, parse_address
from tasks.email.errors import BadAddress

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "text, expected",
    [
        ("anna@example.com", Address("anna@example.com", "example.com", "anna@example.com", False)),
        (" Anna.B@Example.COM\n", Address("Anna.B@example.com", "example.com", "anna.b@example.com", False)),
        (
            "x@Müller.example",
            Address("x@xn--mller-kva.example", "xn--mller-kva.example", "x@xn--mller-kva.example", False),
        ),
        ("a+tag@example.com", Address("a+tag@example.com", "example.com", "a+tag@example.com", False)),
        ("Jürgen@example.com", Address("Jürgen@example.com", "example.com", "jürgen@example.com", True)),
        ("Ju\u0308rgen@example.com", Address("Jürgen@example.com", "example.com", "jürgen@example.com", True)),
    ],
)
def test_addresses_are_normalised(text: str, expected: Address) -> None:
    """The local part stays as it was given, the domain becomes lower-case ASCII, the identity is folded."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "anna", "anna@", "@example.com", "a b@example.com", "a..b@example.com", ".a@example.com",
        "a@example", "a@localhost", "a@example..com", "a@-x.com", "a@[127.0.0.1]", '"a b"@example.com', "a@b@example.com",
        "a@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com", "Anna <anna@example.com>", "\ud800@example.com",
        "a@exa\0mple.com", "a" * 65 + "@example.com", "a@" + "b" * 64 + ".com", "a@x.test", "x" * 2000, "a@ex\u200bample.com",
    ],
)  # fmt: skip
def test_what_cannot_be_sent_to_is_refused_with_a_reason(text: str) -> None:
    """The message shows the address, escaped, and says what is wrong; it never holds a raw line break."""
    with pytest.raises(BadAddress) as refused:
        parse_address(text)
    assert refused.value.given == text or refused.value.given == text.strip()
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)
    str(refused.value).encode()


_TEXTS = st.text(alphabet="abzAZ09.-_+'!@ üßé\u0308\n", max_size=80) | st.emails()


@settings(deadline=None)
@given(_TEXTS)
@example("a@B-C.example")
@example("a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 57 + ".com")
@example("a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 58 + ".com")
@example("a" * 64 + "@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 60 + ".com")
@example("'a'!#$%&*/=?^_`{|}~@example.com")
@example("x@xn--mller-kva.example")
@example("x@xn--.example")
def test_the_short_cut_says_what_email_validator_says(text: str) -> None:
    """Plain ASCII addresses are decided without it, and never differently."""
    try:
        checked = validate_email(text.strip(), check_deliverability=False, strict=True)
    except EmailNotValidError:
        with pytest.raises(BadAddress):
            parse_address(text)
        return
    found = parse_address(text)
    assert found.normalised == f"{checked.local_part}@{checked.ascii_domain}"
    assert (found.domain, found.smtputf8) == (checked.ascii_domain, checked.smtputf8)
    assert found.identity == identity_of(found.normalised)


@settings(deadline=None)
@given(_TEXTS)
def test_normalising_again_changes_nothing(text: str) -> None:
    """A ledger's address, read back, is the same address."""
    try:
        found = parse_address(text)
    except BadAddress:
        return
    assert parse_address(found.normalised) == found
