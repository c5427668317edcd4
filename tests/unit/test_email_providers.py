"""Providers' URLs: what is taken, what is refused, and that no message ever holds the password."""

from __future__ import annotations

import pytest

from tasks.email.providers import BadProvider, Provider, find_provider, parse_provider


def test_a_url_says_everything() -> None:
    """Host, port, user, %-encoded password, time-outs and limits of a connection."""
    url = "smtp://ann%40example.com:p%3Aw%2Fx@mail.example.com:2587?timeout=5&data_timeout=30.5&messages=10&idle=3&pause=9"
    found = parse_provider("main", url)
    assert (found.host, found.port, found.user, found.password) == (
        "mail.example.com",
        2587,
        "ann@example.com",
        "p:w/x",
    )
    assert (found.timeout, found.data_timeout, found.messages, found.idle, found.pause) == (5, 30.5, 10, 3, 9)
    assert (found.implicit_tls, found.starttls, found.encrypted) == (False, "require", True)
    implicit = parse_provider("main", "smtps://mail.example.com")
    assert (implicit.port, implicit.implicit_tls, implicit.encrypted) == (465, True, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://u:hunter2@host", "smtp://user:password@host"),
        ("smtp://", "smtp://user:password@host"),
        ("smtp://u:hunter2@host:99999", "port"),
        ("smtp://u:hunter2@host:x", "port"),
        ("smtp://u:hunter2@host/path", "smtp://user:password@host"),
        ("smtp://u:hunter2@host?tiemout=5", "no option is called 'tiemout'"),
        ("smtp://u:hunter2@host?timeout=0", "timeout is not a number above zero"),
        ("smtp://u:hunter2@host?timeout=inf", "timeout is not a number above zero"),
        ("smtp://u:hunter2@host?messages=1.5", "messages is not a number above zero"),
        ("smtp://u:hunter2@host?starttls=maybe", "starttls is one of"),
        ("smtp://u:hunter2@host?starttls=never", "not sent in plain text"),
        ("smtp://hunter2@host", "both a user and a password"),
        ("smtp://u:hunter2@host?password=hunter2", "no option is called 'password'"),
    ],
)
def test_what_cannot_be_right_is_refused_without_the_password(url: str, said: str) -> None:
    """The message names the variable and what is wrong."""
    with pytest.raises(BadProvider) as raised:
        parse_provider("main", url)
    assert said in str(raised.value)
    assert "EMAIL_PROVIDER_MAIN" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_provider_that_is_not_set_says_how_to_set_it() -> None:
    """By its variable."""
    with pytest.raises(BadProvider, match="set EMAIL_PROVIDER_OTHER"):
        find_provider("other", {"default": "smtp://host"})


def test_the_password_is_not_in_its_repr() -> None:
    """A provider may stand in a traceback."""
    assert "hunter2" not in repr(Provider("main", "host", 25, user="u", password="hunter2"))
