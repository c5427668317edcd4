"""Providers: where mail is handed in, as a URL in the environment: ``EMAIL_PROVIDER_<NAME>``."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from urllib.parse import parse_qsl, unquote, urlsplit

from tasks.email.errors import EmailError

PREFIX = "EMAIL_PROVIDER_"
_PORTS = {"smtp": 587, "smtps": 465}
STARTTLS = ("require", "never")


class BadProvider(EmailError):
    """A provider is not set, or its URL cannot be right; the message never holds the URL, which holds the password."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A mail server and how to talk to it.  Times are in seconds.

    ``starttls``         `require`: no TLS, no mail; `never`: plain text, as a server on this host may have it
    ``ca``               file of the authorities that may have signed the server's certificate; default: the system's
    ``cert``, ``key``    files of our own certificate, for a server that asks for one
    ``connect_timeout``  until the server greets us
    ``timeout``          for each answer but the last
    ``data_timeout``     for the answer to the final dot (RFC 5321, 4.5.3.2.6, asks for ten minutes)
    ``messages``         after so many a connection is closed, for many servers do it themselves
    ``idle``             after so long without a message it is closed
    ``pause``            how long all workers leave the provider alone where its "wait" does not say how long
    """

    name: str
    host: str
    port: int
    implicit_tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    starttls: str = "require"
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    helo: str | None = None
    connect_timeout: float = 10.0
    timeout: float = 60.0
    data_timeout: float = 600.0
    messages: int = 500
    idle: float = 20.0
    pause: float = 60.0

    def tls(self) -> ssl.SSLContext:
        """The TLS settings: certificate and name are checked.  Raises `BadProvider` for a file that cannot be read."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise BadProvider(f"provider {self.name}: its ca, cert or key cannot be read: {error}") from error
        return context

    @property
    def encrypted(self) -> bool:
        """Whether nothing is said in plain text."""
        return self.implicit_tls or self.starttls == "require"


_OPTIONS = {
    option.name: option.type
    for option in fields(Provider)
    if option.name not in ("name", "host", "port", "implicit_tls", "user", "password")
}


def find_provider(name: str, urls: Mapping[str, str]) -> Provider:
    """The provider ``name`` from its URL in ``urls`` (name in lower case → URL).  Raises `BadProvider`."""
    variable = PREFIX + name.upper()
    url = urls.get(name)
    if not url:
        raise BadProvider(f"there is no provider {name!r}: set {variable}, e.g. to smtp://user:password@host:587")
    return parse_provider(name, url)


def parse_provider(name: str, url: str) -> Provider:
    """``smtp://user:password@host:587?starttls=require&timeout=60``; ``smtps://`` is TLS from the first byte.

    User and password are percent-encoded.  Raises `BadProvider`, naming what is wrong but never what stands there.
    """
    variable = PREFIX + name.upper()
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise BadProvider(f"{variable}: its port is no number between 1 and 65535") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.fragment:
        raise BadProvider(f"{variable}: give smtp://user:password@host:port or smtps://…, user and password %-encoded")
    options: dict[str, object] = {}
    for option, value in parse_qsl(parts.query, keep_blank_values=True):
        if option not in _OPTIONS:
            raise BadProvider(f"{variable}: no option is called {option!r}; there are {', '.join(sorted(_OPTIONS))}")
        options[option] = _value(variable, option, value)
    provider = Provider(
        name=name,
        host=parts.hostname,
        port=port,
        implicit_tls=parts.scheme == "smtps",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        **options,  # type: ignore[arg-type]
    )
    if provider.starttls not in STARTTLS:
        raise BadProvider(f"{variable}: starttls is one of {', '.join(STARTTLS)}")
    if (provider.user is None) != (provider.password is None):
        raise BadProvider(f"{variable}: give both a user and a password, or neither")
    if provider.password is not None and not provider.encrypted:
        raise BadProvider(
            f"{variable}: a password is not sent in plain text; leave out starttls=never, or use smtps://"
        )
    return provider


def _value(variable: str, option: str, value: str) -> object:
    kind = str(_OPTIONS[option])
    if "float" not in kind and "int" not in kind:
        if not value or any(char in value for char in "\r\n\0"):
            raise BadProvider(f"{variable}: {option} is empty or not one line")
        return value
    try:
        number = int(value) if "int" in kind else float(value)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise BadProvider(f"{variable}: {option} is not a number above zero")
    return number
