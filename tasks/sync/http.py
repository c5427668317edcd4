"""One API over HTTP: requests that end in time, go to one host only, and say whether they were sent.

Made once per worker process; its connections are kept and reused.  Everything that a connector does goes through `request`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import requests
import urllib3.exceptions

from tasks.sync import gate
from tasks.sync.addresses import AddressGuard, AddressRefused
from tasks.sync.auth import Credentials, split_address
from tasks.sync.body import ENCODINGS, BodyBroken, BodyTooLong, read_body
from tasks.sync.deadline import Deadline
from tasks.sync.http_answer import READS, Answer
from tasks.sync.remote_errors import BadAnswer, OutcomeUnknown, Rejected, RemoteError, Unavailable, Unusable
from tasks.sync.retry_after import wait_asked_s
from tasks.sync.transport import Call, GuardedAdapter, set_call

USER_AGENT = "holdfast-sync/1"
MAX_ERROR_BYTES = 64 * 1024
MAX_REDIRECTS = 3
_NOT_DONE = frozenset({429, 503})
_WITH_RECORDS = frozenset({409, 412})
"""Errors whose body may be a whole record, so that the cap of good answers holds for them."""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How patient to be, and how much to take.

    ``connect_s``      for each address of the host
    ``read_s``         for each piece of the answer
    ``total_s``        for the whole request, its answer included
    ``max_bytes``      of an answer, unpacked; of an error's 64 KiB are read
    ``allow_private``  the host may resolve to private addresses (`tasks.sync.addresses`)
    ``ca_file``        certificates to trust instead of the usual ones
    """

    connect_s: float = 5.0
    read_s: float = 30.0
    total_s: float = 60.0
    max_bytes: int = 16 * 1024 * 1024
    allow_private: bool = False
    ca_file: str | None = None


class Http:
    """Requests to one API.

    ``address``: the base URL, with or without credentials in it (`tasks.sync.auth.split_address`); ``credentials`` win over
    those.  Raises `ValueError` for an address that is none.  For one thread at a time.
    """

    def __init__(
        self, address: str, *, credentials: Credentials | None = None, options: HttpOptions | None = None
    ) -> None:
        self.base_url, in_address = split_address(address)
        self.options = options or HttpOptions()
        parts = urlsplit(self.base_url)
        self._origin = _origin(self.base_url)
        self._guard = AddressGuard(parts.hostname or "", allow_private=self.options.allow_private)
        self._session = requests.Session()
        # Neither proxies nor passwords (.netrc) nor certificates from the environment: what is not in the connection's
        # own settings must not decide where its requests go.
        self._session.trust_env = False
        self._session.verify = self.options.ca_file or True
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        own = credentials or in_address
        self._secrets = own.secrets
        adapter = GuardedAdapter()
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.headers.clear()
        self._session.headers.update(
            {
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": ENCODINGS,
                **own.headers,
            }
        )

    def __repr__(self) -> str:
        return f"Http({self.base_url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def url(self, *segments: str) -> str:
        """The base URL with these path segments, each quoted.

        Raises `Rejected` for a segment that would lead elsewhere: DELETE of the record ``..`` would be one of its collection.
        """
        for segment in segments:
            if segment in ("", ".", ".."):
                raise Rejected(f"{segment!r} cannot be part of a path")
        return "/".join([self.base_url, *(quote(segment, safe="") for segment in segments)])

    def request(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str | int] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, and its answer whatever its status (`tasks.sync.http_answer.check` judges it).

        ``url``: of `url`, or one that the API itself gave, if it leads to the same host; ``content``: sent as JSON.  A read
        follows redirects within the host, a write none.  A read whose kept connection turns out to be closed is asked again,
        once.

        Raises `Unavailable` (nobody took it, or nobody answered a read), `OutcomeUnknown` (a write was sent, and no answer
        can be had), `BadAnswer` (too long, another host …), `Unusable` (an address or a certificate is refused).
        """
        target = self._with_query(url, query)
        data = _encoded(content)
        own = {**(headers or {}), **({} if data is None else {"Content-Type": "application/json"})}
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(method, target, data, own)
            location = answer.headers.get("Location")
            if method not in READS or answer.status not in (301, 302, 303, 307, 308) or not location:
                return answer
            target = urljoin(target, location)
            self._refuse_elsewhere(target, f"{answer.request}: {answer.status} leads to another host")
        raise BadAnswer(f"{method} {_path(url)}: more than {MAX_REDIRECTS} redirects")

    def _with_query(self, url: str, query: Mapping[str, str | int] | None) -> str:
        self._refuse_elsewhere(url, "a link of the API leads to another host")
        if not query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"

    def _refuse_elsewhere(self, url: str, what: str) -> None:
        # The credentials go to the connection's own host and to nobody else, and no answer sends us into the network.
        if _origin(url) != self._origin:
            raise BadAnswer(f"{what} ({_shown(url)}): refused; the base URL is {self.base_url}")

    def _once(self, method: str, url: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        request = f"{method} {_path(url)}"
        try:
            return self._send(request, url, data, headers)
        except _Stale:
            return self._send(request, url, data, headers)

    def _send(self, request: str, url: str, data: bytes | None, headers: Mapping[str, str]) -> Answer:
        gate.before_request()
        method = request.split(" ", 1)[0]
        options = self.options
        with Deadline(options.total_s) as deadline:
            call = Call(self._guard, deadline)
            with _translated(request, call):
                response = self._session.request(
                    method,
                    url,
                    data=data,
                    headers=headers,
                    timeout=(options.connect_s, options.read_s),
                    allow_redirects=False,
                    stream=True,
                )
                try:
                    answer = self._read(request, response, call)
                except BaseException:
                    # What is left of the body must not be taken for the next answer.
                    response.raw.close()
                    raise
                finally:
                    response.close()
        _tell_gate(answer.status, wait_asked_s(answer.status, answer.headers))
        return answer

    def _read(self, request: str, response: requests.Response, call: Call) -> Answer:
        status, headers = response.status_code, response.headers
        good = status < 400 or status in _WITH_RECORDS
        max_bytes = self.options.max_bytes if good else MAX_ERROR_BYTES
        try:
            body = read_body(response, max_bytes=max_bytes)
        except BodyTooLong as error:
            response.raw.close()
            if good:
                raise _lost(request, call, f"the answer has more than {max_bytes} bytes", BadAnswer) from None
            body = error.start
        except BodyBroken as error:
            response.raw.close()
            if good:
                raise _lost(request, call, str(error), BadAnswer) from None
            body = b""
        if not good:
            for secret in self._secrets:
                # Some servers repeat in their errors what they were sent, and errors are stored and shown.
                body = body.replace(secret, b"***")
        if call.deadline.expired:
            # A body without a length ends where the connection does: it may be half of one.
            raise TimeoutError
        return Answer(request, status, headers, body)


@contextmanager
def _translated(request: str, call: Call) -> Iterator[None]:
    """Errors of the connection as errors of ours: before anything was sent, or after."""
    set_call(call)
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
        _tell_gate(None, None)
        if not call.sent and _certificate_refused(error):
            raise Unusable(f"{request}: the certificate is refused: {_reason(error)}") from error
        if isinstance(error, requests.exceptions.InvalidHeader | requests.exceptions.InvalidURL | UnicodeError):
            raise Unusable(f"{request}: {_reason(error)}") from error
        why = "took longer than the time for the whole request" if call.deadline.expired else _reason(error)
        kept = call.sent and not call.fresh and not call.deadline.expired
        raise _lost(request, call, why, _Stale if kept and _closed(error) else Unavailable) from error
    except AddressRefused as error:
        raise Unusable(f"{request}: {error}") from error
    finally:
        set_call(None)


def _tell_gate(status: int | None, wait_s: float | None) -> None:
    """Tell the gate; whatever it raises must not hide an answer that tells of something done."""
    try:
        gate.after_answer(status, wait_s)
    except RemoteError:
        if status in _NOT_DONE:
            raise


class _Stale(Unavailable):
    """A read met the end of a connection that had been kept: the other side had closed it, as it may at any time."""


def _lost(request: str, call: Call, why: str, of_a_read: type[BadAnswer | Unavailable]) -> RemoteError:
    """The error for an answer that cannot be had."""
    if not call.sent:
        return Unavailable(f"{request}: not sent: {why}")
    if request.split(" ", 1)[0] in READS:
        return of_a_read(f"{request}: {why}")
    return OutcomeUnknown(f"{request}: sent, and no answer tells what became of it: {why}")


def _encoded(content: Any) -> bytes | None:
    if content is None:
        return None
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise Rejected(f"what was to be sent is no JSON: {error}") from error


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; a URL that cannot be read has an origin that none has."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", "", None
    if parts.username is not None or parts.password is not None:
        return "", "", None
    return parts.scheme, (parts.hostname or "").lower(), port or {"http": 80, "https": 443}.get(parts.scheme)


def _path(url: str) -> str:
    """The path alone: queries may hold what nobody should read in a log."""
    return urlsplit(url).path or "/"


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}"[:100]
    except ValueError:
        return "no URL"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was made of: urllib3 keeps that in ``reason`` or among the arguments."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        around = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        todo.extend(other for other in around if isinstance(other, BaseException))


def _certificate_refused(error: BaseException) -> bool:
    return any(isinstance(one, ssl.SSLCertVerificationError) for one in _causes(error))


def _closed(error: BaseException) -> bool:
    return any(isinstance(one, ConnectionResetError | BrokenPipeError) for one in _causes(error))


def _reason(error: BaseException) -> str:
    """What the system said; requests' and urllib3's own messages have whole URLs in them."""
    for one in _causes(error):
        if isinstance(one, OSError) and not isinstance(one, requests.RequestException):
            return f"{type(one).__name__}: {str(one)[:200]}"
    return type(error).__name__
