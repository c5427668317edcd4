"""E-mail addresses: checked without asking the network, in the one form that is sent to, and the one that is compared."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from tasks.email.errors import BadAddress

MAX_GIVEN_CHARS = 1000
_MAX_CHARS = 254
_MAX_LOCAL = 64
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN = re.compile(rf"({_ATEXT}(?:\.{_ATEXT})*)@([A-Za-z0-9.-]+)\Z")


class Address(NamedTuple):
    """An address that can be sent to.

    ``normalised``  what the server is told: the local part as it was given (RFC 5321, 2.4: its case is the receiver's affair),
                    the domain in lower case and ASCII (``müller.example`` → ``xn--mller-kva.example``)
    ``domain``      that domain, for limits and reports
    ``identity``    what deduplication and suppression compare: `identity_of`
    ``smtputf8``    whether the local part needs SMTPUTF8 (RFC 6531) all the way
    """

    normalised: str
    domain: str
    identity: str
    smtputf8: bool


def parse_address(given: str) -> Address:
    """The address in ``given``, spaces around it left out; raises `BadAddress`, saying what is wrong.

    The syntax is what email-validator takes: no quoted local parts, no comments, no IP addresses, no single-label,
    reserved or special-use domains (RFC 6761).  No DNS: whether the domain takes mail, its servers say.
    """
    text = given.strip()
    if not text:
        raise BadAddress(given, "is empty; every recipient needs an address")
    if len(text) > MAX_GIVEN_CHARS:
        raise BadAddress(given, f"is {len(text)} characters long; an address has at most {_MAX_CHARS}")
    plain = _PLAIN.match(text)
    if plain and len(text) <= _MAX_CHARS and len(plain[1]) <= _MAX_LOCAL:
        # What email-validator would say, for an eighth of the time: only the domain needs it, once for all its addresses.
        domain = _plain_domain(plain[2])
        if domain is not None and len(plain[1]) + 1 + len(domain) <= _MAX_CHARS:
            local = plain[1]
            return Address(f"{local}@{domain}", domain, f"{local.lower()}@{domain}", False)
    return _validated(text)


def identity_of(normalised: str) -> str:
    """The text by which two addresses count as one: NFC, and lower case on both sides of the @.

    A server may tell ``Anna@`` from ``anna@``, but none in wide use does, and lists are full of both: folding them costs a
    message that nobody misses, telling them apart sends twice, or to someone who unsubscribed under the other spelling.
    Dots and ``+tags`` are kept: where those mean the same mailbox is one provider's rule.
    """
    return unicodedata.normalize("NFC", normalised).lower()


@lru_cache(maxsize=65536)
def _plain_domain(domain: str) -> str | None:
    """The domain in lower case if an ASCII address can have it, else None."""
    try:
        return _validated(f"x@{domain}").domain
    except BadAddress:
        return None


def _validated(text: str) -> Address:
    try:
        checked = validate_email(text, check_deliverability=False, allow_smtputf8=True, strict=True)
    except EmailNotValidError as error:
        raise BadAddress(text, f"{str(error).rstrip('.')}; correct it or leave it out") from None
    except UnicodeError:
        # Lone surrogates, which no encoding can carry.
        raise BadAddress(text, "holds characters that are no Unicode text; correct it or leave it out") from None
    domain = checked.ascii_domain
    normalised = f"{checked.local_part}@{domain}"
    return Address(normalised, domain, identity_of(normalised), checked.smtputf8)
