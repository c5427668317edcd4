"""Which addresses a connection may reach: what its own host resolves to, and nothing inside the network by surprise.

The check is made on the address that is connected to, so that a name which resolves differently the second time does not help
(DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_ADDRESSES = 4
"""How many of a name's addresses are tried."""


class AddressRefused(Exception):
    """The host resolves to nothing that may be connected to; the message says which address and what would allow it."""


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """What may be connected to for ``host``, the host of the connection's base URL.

    Public addresses always.  Private and loopback ones if the base URL itself says so (``http://10.1.2.3/``, ``localhost``),
    or with ``allow_private``, for internal names.  Link-local ones (clouds keep their metadata there), multicast and
    unspecified ones never.
    """

    host: str
    allow_private: bool = False

    def allows(self, address: Address) -> bool:
        """Whether this address may be connected to."""
        inner = _inner(address)
        if inner.is_link_local or inner.is_multicast or inner.is_unspecified:
            return False
        if self.host in ("localhost", "localhost.localdomain") and inner.is_loopback:
            return True
        return inner.is_global or self.allow_private or _literal(self.host) == address

    def addresses(self, host: str, port: int) -> list[tuple[int, Any]]:
        """Family and socket address of what ``host`` resolves to and may be connected to.

        Raises `AddressRefused`, and `OSError` where the name does not resolve.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        seen: list[tuple[int, Any]] = [(family, address) for family, _, _, _, address in found]
        allowed = [one for one in seen if self.allows(ipaddress.ip_address(str(one[1][0]).partition("%")[0]))]
        if not allowed:
            raise AddressRefused(
                f"{host} resolves to {', '.join(str(address[0]) for _, address in seen)}, inside the network: refused. "
                "If the API really is there, allow_private=True lets this connection reach it"
            )
        return allowed[:MAX_ADDRESSES]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries, if it does: that is where the packets end."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052."""
