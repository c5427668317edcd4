"""Unsubscribe links: a sealed token per recipient, and the function that a web handler calls with it."""

from __future__ import annotations

from typing import NamedTuple


class Unsubscription(NamedTuple):
    """What a token says: who wants no more of what."""

    identity: str
    """`tasks.email.addresses.identity_of` of the recipient."""
    scope: str
    campaign_id: str


class Unsubscriber:
    """Makes and reads tokens with the site's keys, and builds links from them."""

    def __init__(self, keys: str, base_url: str) -> None:
        """``keys``: ``id:secret,id:secret``, the first one seals, all of them open; ``base_url``: https, where the token goes
        at the end, or in place of ``{token}``.  Raises `NoUnsubscribe`."""
        raise NotImplementedError

    def token(self, unsubscription: Unsubscription) -> str:
        """The token; nobody without the key can make one or read the address in it."""
        raise NotImplementedError

    def url(self, unsubscription: Unsubscription) -> str:
        """The link for the List-Unsubscribe header and for the text."""
        raise NotImplementedError

    def open(self, token: str) -> Unsubscription:
        """What the token says; raises `BadToken`.  Tokens do not expire: an old message may be the only link left."""
        raise NotImplementedError
