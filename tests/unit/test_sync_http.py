"""HTTP to one host: what was sent, what may come back, where requests may go."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tasks.sync import gate
from tasks.sync.addresses import AddressGuard
from tasks.sync.auth import Credentials, split_address
from tasks.sync.http import MAX_REDIRECTS, Http, HttpOptions
from tasks.sync.http_answer import check
from tasks.sync.remote_errors import (
    AuthFailed,
    BadAnswer,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    RemoteError,
    Unavailable,
    Unusable,
    VersionMoved,
)
from tests.raw_http import RawServer, answer, answering, raw_server
from tests.waiting import wait_until

PATIENT = HttpOptions(max_bytes=100_000)
"""For servers that answer: a busy machine must not make them fail."""
QUICK = HttpOptions(connect_s=1, read_s=0.5, total_s=1.5, max_bytes=100_000)
OK = answer("200 OK", b"{}")


def http(server: RawServer, options: HttpOptions = PATIENT, **more: Any) -> Http:
    return Http(server.url, options=options, **more)


def drop_before_reading(connection: socket.socket, server: RawServer) -> None:
    # Closed with what was not read: the other side gets a reset.
    connection.close()


def drop_after_reading(connection: socket.socket, server: RawServer) -> None:
    server.read_request(connection)


def never_answer(connection: socket.socket, server: RawServer) -> None:
    server.read_request(connection)
    server.over.wait(10)


def answer_half(connection: socket.socket, server: RawServer) -> None:
    server.read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def answer_nonsense(connection: socket.socket, server: RawServer) -> None:
    server.read_request(connection)
    connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    "behave",
    (drop_before_reading, drop_after_reading, never_answer, answer_half, answer_nonsense),
    ids=lambda f: f.__name__,
)
def test_a_write_that_was_sent_and_not_answered_is_unknown(behave: Callable[..., None]) -> None:
    """Whatever happens after the first byte, a write may have been done; a read may be made again."""
    with raw_server(behave) as server:
        client = http(server, QUICK)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(OutcomeUnknown):
                client.request(method, client.url("items"), content={})
        with pytest.raises(Unavailable):
            client.request("GET", client.url("items"))
        assert server.connections == 5


def test_a_write_that_found_nobody_was_not_done() -> None:
    """A refused connection, an unknown name and a handshake that nobody answers come before the first byte."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        with pytest.raises(Unavailable, match="not sent"):
            Http(address, options=QUICK).request("POST", f"{address}/items", content={})


def test_a_handshake_that_fails_comes_before_the_request() -> None:
    """A server that speaks no TLS, and one that is silent, got no request."""
    for behave in (answer_nonsense, never_answer):
        with raw_server(behave) as server:
            address = server.url.replace("http://", "https://")
            with pytest.raises(Unavailable, match="not sent"):
                Http(address, options=QUICK).request("POST", f"{address}/items", content={})


def test_a_certificate_must_be_trusted_and_fit(tmp_path: Path) -> None:
    """A self-signed certificate, or another host's, gets no request; one that the connection's own settings name does."""
    received: list[bytes] = []

    def serve(certificate: Path) -> Callable[[socket.socket, RawServer], None]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

        def behave(connection: socket.socket, server: RawServer) -> None:
            with context.wrap_socket(connection, server_side=True) as wrapped:
                received.append(server.read_request(wrapped))
                wrapped.sendall(OK)

        return behave

    ours, others = certificate_for(tmp_path, "127.0.0.1"), certificate_for(tmp_path, "10.0.0.1")
    for certificate, trusted in ((ours, None), (others, others)):
        with raw_server(serve(certificate)) as server:
            address = server.url.replace("http://", "https://")
            client = Http(address, options=replace(PATIENT, ca_file=str(trusted) if trusted else None))
            with pytest.raises(Unusable, match="certificate is refused"):
                client.request("POST", client.url("items"), content={})
    assert received == []
    with raw_server(serve(ours)) as server:
        address = server.url.replace("http://", "https://")
        client = Http(address, options=replace(PATIENT, ca_file=str(ours)))
        assert client.request("GET", client.url("items")).status == 200


def certificate_for(directory: Path, address: str) -> Path:
    """A self-signed certificate for an IP address, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{address}.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


def test_no_answer_takes_longer_than_its_time() -> None:
    """A byte now and then keeps every socket's time-out happy; the whole request ends all the same, head or body."""

    def drip(head: bytes) -> Callable[[socket.socket, RawServer], None]:
        def behave(connection: socket.socket, server: RawServer) -> None:
            server.read_request(connection)
            connection.sendall(head)
            while not server.over.wait(0.05):
                connection.sendall(b"x")

        return behave

    for head in (
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ):
        with raw_server(drip(head)) as server:
            client = http(server, QUICK)
            started = time.monotonic()
            with pytest.raises(Unavailable, match="whole request"):
                client.request("GET", client.url("items"))
            assert 1.4 < time.monotonic() - started < 10


def test_connections_are_reused() -> None:
    """One connection serves many requests, also after an error of the API's own."""
    with raw_server(answering(OK, answer("400 Bad", b"no"), OK)) as server:
        client = http(server)
        for _ in range(5):
            client.request("GET", client.url("items"))
        client.request("POST", client.url("items"), content={})
        assert server.connections == 1


def test_a_read_on_a_connection_that_was_closed_meanwhile_is_made_again() -> None:
    """Servers close idle connections as they like: that is no outage.  A write is never repeated."""

    def answer_once(connection: socket.socket, server: RawServer) -> None:
        server.read_request(connection)
        connection.sendall(OK)
        # The next request is read, and then the connection goes.
        server.read_request(connection)

    with raw_server(answer_once) as server:
        client = http(server)
        for _ in range(3):
            assert client.request("GET", client.url("items")).status == 200
        with pytest.raises(OutcomeUnknown):
            client.request("POST", client.url("items"), content={})
        assert sum(b"POST" in request for request in server.requests) == 1


def test_a_long_answer_is_cut() -> None:
    """More than max_bytes is refused, whether or not the length is said; a write's may have been done."""
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for reply in (answer("200 OK", b"x" * 100_001), endless + b"10000\r\n" + b"x" * 0x10000 + b"\r\n0\r\n\r\n"):
        with raw_server(answering(reply)) as server:
            client = http(server)
            with pytest.raises(BadAnswer, match="100000 bytes"):
                client.request("GET", client.url("items"))
            with pytest.raises(OutcomeUnknown):
                client.request("POST", client.url("items"), content={})


def test_a_gzip_bomb_costs_little() -> None:
    """A little that unpacks to a lot is given up at the cap, without its memory."""
    bomb = gzip.compress(bytes(50_000_000), compresslevel=1)
    with raw_server(answering(answer("200 OK", bomb, "Content-Encoding: gzip"))) as server:
        client = http(server)
        tracemalloc.start()
        with pytest.raises(BadAnswer, match="100000 bytes"):
            client.request("GET", client.url("items"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8_000_000


@pytest.mark.parametrize(
    "body, encoding, expected",
    (
        pytest.param(gzip.compress(b"[1]"), "gzip", b"[1]", id="gzip"),
        pytest.param(b"[1]", "identity", b"[1]", id="plain"),
        pytest.param(b"[1]", "gzip", None, id="called-gzip"),
        pytest.param(gzip.compress(b"[1]")[:-6], "gzip", None, id="gzip-cut"),
        pytest.param(b"[1]", "br", None, id="brotli"),
    ),
)
def test_only_what_was_asked_for_is_unpacked(body: bytes, encoding: str, expected: bytes | None) -> None:
    """gzip is unpacked, whole or not at all; other packings are refused."""
    with raw_server(answering(answer("200 OK", body, f"Content-Encoding: {encoding}"))) as server:
        client = http(server)
        if expected is None:
            with pytest.raises(BadAnswer):
                client.request("GET", client.url("items"))
        else:
            assert client.request("GET", client.url("items")).body == expected


def test_a_long_error_is_shortened() -> None:
    """A page of HTML behind a 400 is no trouble of its own, and messages have its beginning only."""
    with raw_server(answering(answer("400 Bad", b"<p>no\n" * 50_000))) as server:
        client = http(server, HttpOptions())
        reply = client.request("GET", client.url("items"))
        assert len(reply.body) == 64 * 1024
        with pytest.raises(Rejected) as refused:
            check(reply)
        assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "location",
    (
        "http://elsewhere.example/items",
        "https://127.0.0.1/items",
        "//elsewhere.example/",
        "http://a@127.0.0.1/",
        "file:///etc/passwd",
    ),
)
def test_a_redirect_to_another_host_is_refused(location: str) -> None:
    """Neither the request nor its credentials go there."""
    with raw_server(answering(answer("302 Found", b"", f"Location: {location}"))) as server:
        client = http(server, credentials=Credentials.bearer("secret"))
        with pytest.raises(BadAnswer, match="another host"):
            client.request("GET", client.url("items"))
        assert len(server.requests) == 1


def test_redirects_within_the_host_are_followed_by_reads_only() -> None:
    """A GET arrives, a POST does not become one; and circles end."""
    with raw_server(answering(answer("301 Moved", b"", "Location: /v2/items"), OK)) as server:
        client = http(server)
        assert client.request("GET", client.url("items")).status == 200
        assert server.requests[1].startswith(b"GET /v2/items ")
    with raw_server(answering(answer("301 Moved", b"", "Location: /items"))) as server:
        client = http(server)
        with pytest.raises(Rejected):
            check(client.request("POST", client.url("items"), content={}))
        assert len(server.requests) == 1
        with pytest.raises(BadAnswer, match="redirects"):
            client.request("GET", client.url("items"))
        assert len(server.requests) == 1 + 1 + MAX_REDIRECTS


def test_a_link_to_another_host_is_refused() -> None:
    """What an API calls its next page must be its own."""
    client = Http("https://api.example/v1")
    for url in (
        "https://evil.example/v1/items",
        "http://api.example/v1/items",
        "https://api.example:444/",
        "https://api.example@evil.example/",
    ):
        with pytest.raises(BadAnswer, match="another host"):
            client.request("GET", url)


@pytest.mark.parametrize(
    "host",
    (
        "10.0.0.5",
        "127.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.5",
        "fd00::1",
        "64:ff9b::a00:5",
        "0.0.0.0",
        "100.64.0.1",
    ),
)
def test_a_name_that_leads_into_the_network_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that is connected to counts, not the name; allow_private lets internal names through, never the metadata's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(family, socket.SOCK_STREAM, 6, "", (host, 80))])
    with pytest.raises(Unusable, match="refused"):
        Http("http://api.example", options=QUICK).request("POST", "http://api.example/items", content={})
    guard = AddressGuard("api.example", allow_private=True)
    assert guard.allows(ip_address(host)) is (host not in ("169.254.169.254", "0.0.0.0"))


def test_a_name_that_leads_elsewhere_the_second_time_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a name is asked once a connection, and what was judged is what is connected to; judged anew each time."""
    answers = [["93.184.216.34"], ["127.0.0.1"], ["10.0.0.5", "93.184.216.34"]]
    asked: list[str] = []
    connected: list[Any] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[len(asked) - 1]]

    class Recorded(socket.socket):
        def connect(self, address: Any) -> None:
            connected.append(address)
            raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "socket", Recorded)
    client = Http("http://api.example", options=QUICK)
    with pytest.raises(Unavailable):
        client.request("POST", "http://api.example/items", content={})
    assert (asked, connected) == (["api.example"], [("93.184.216.34", 80)])
    with pytest.raises(Unusable, match="inside the network: refused"):
        client.request("POST", "http://api.example/items", content={})
    assert len(connected) == 1
    with pytest.raises(Unavailable):
        client.request("POST", "http://api.example/items", content={})
    assert connected[1:] == [("93.184.216.34", 80)]


def test_clouds_metadata_is_out_of_reach_in_every_spelling() -> None:
    """Not even a connection that may reach private addresses gets there, as IPv4 or wrapped into IPv6."""
    guard = AddressGuard("api.internal", allow_private=True)
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1"):
        assert not guard.allows(ip_address(address))
    assert guard.allows(ip_address("10.0.0.5"))


@pytest.mark.parametrize(
    "base, address, allowed",
    (
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "10.0.0.6", False),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "10.0.0.5", False),
        ("169.254.169.254", "169.254.169.254", False),
        ("api.example", "93.184.216.34", True),
        ("api.example", "2606:2800:220:1::1", True),
        ("api.example", "::ffff:93.184.216.34", True),
        ("api.example", "2002:a00:5::1", False),
        ("api.example", "224.0.0.1", False),
    ),
)
def test_a_private_address_must_be_meant(base: str, address: str, allowed: bool) -> None:
    """Whoever writes 10.0.0.5 or localhost into the base URL means it; a name may only lead to the world."""
    assert AddressGuard(base).allows(ip_address(address)) is allowed


def test_the_environment_decides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No proxy and no password of the worker's environment goes along, and cookies are not kept."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login root password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with raw_server(answering(answer("200 OK", b"{}", "Set-Cookie: a=b"))) as server:
        client = http(server)
        for _ in range(2):
            client.request("GET", client.url("items"))
        assert not any(b"uthorization" in request or b"Cookie" in request for request in server.requests)
        assert b"User-Agent: holdfast-sync/1\r\n" in server.requests[0]


def test_secrets_are_shown_nowhere() -> None:
    """Neither in reprs nor in errors, though the server repeats what it was sent."""

    def echo(connection: socket.socket, server: RawServer) -> None:
        connection.sendall(answer("400 Bad", server.read_request(connection)))

    for user_info, sent in (("tok%40en-1234", b"Bearer tok@en-1234"), ("me:pass%20word", b"Basic bWU6cGFzcyB3b3Jk")):
        with raw_server(echo) as server:
            client = Http(server.url.replace("http://", f"http://{user_info}@"), options=PATIENT)
            reply = client.request("GET", client.url("items"))
            assert sent in server.requests[0]
            with pytest.raises(Rejected) as refused:
                check(reply)
            shown = f"{refused.value} {refused.value.body} {client!r} {reply!r}"
            assert not any(secret in shown for secret in ("tok@en-1234", "tok%40en", "pass", "bWU6"))


@pytest.mark.parametrize(
    "address",
    (
        "ftp://x",
        "https://",
        "api.example/v1",
        "https://x?key=secret",
        "https://x/#secret",
        "https://x:secret",
        "http://[secret/",
    ),
)
def test_an_address_that_is_none_is_refused_without_showing_it(address: str) -> None:
    """A secret may stand anywhere in it."""
    with pytest.raises(ValueError) as refused:
        split_address(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "status, headers, read, write",
    (
        ("429 Too Many", "Retry-After: 7", RateLimited, RateLimited),
        ("403 Forbidden", "Retry-After: 7", RateLimited, RateLimited),
        ("503 Unavailable", "Retry-After: 7", Unavailable, Unavailable),
        ("502 Bad Gateway", "X: y", Unavailable, OutcomeUnknown),
        ("500 Error", "X: y", Unavailable, OutcomeUnknown),
        ("504 Timeout", "X: y", Unavailable, OutcomeUnknown),
        ("408 Timeout", "X: y", Unavailable, Unavailable),
        ("401 Unauthorized", "X: y", AuthFailed, AuthFailed),
        ("403 Forbidden", "X: y", AuthFailed, AuthFailed),
        ("404 Not Found", "X: y", NotFound, NotFound),
        ("410 Gone", "X: y", NotFound, NotFound),
        ("412 Precondition", "X: y", VersionMoved, VersionMoved),
        ("422 Unprocessable", "X: y", Rejected, Rejected),
        ("304 Not Modified", "X: y", Rejected, Rejected),
    ),
)
def test_a_status_has_one_meaning(status: str, headers: str, read: type, write: type) -> None:
    """What was surely not done is told from what may have been."""
    with raw_server(answering(answer(status, b"", headers))) as server:
        client = http(server)
        for method, error in (("GET", read), ("PATCH", write)):
            with pytest.raises(RemoteError) as raised:
                check(client.request(method, client.url("items")))
            assert type(raised.value) is error
            assert raised.value.status == int(status.split(maxsplit=1)[0])
            assert getattr(raised.value, "retry_after_s", None) == (7 if headers.startswith("Retry") else None)


def test_every_request_passes_the_gate() -> None:
    """A closed gate keeps the request back, an open one hears each answer with the wait that it asks for."""
    heard: list[tuple[int | None, float | None]] = []

    class Gate:
        closed = False

        def before_request(self) -> None:
            if self.closed:
                raise RateLimited("parked", retry_after_s=3)

        def after_answer(self, status: int | None, wait_s: float | None) -> None:
            heard.append((status, wait_s))

    doorman = Gate()
    with raw_server(
        answering(OK, answer("200 OK", b"{}", "Backoff: 9"), answer("429 No", b"", "Retry-After: 60"))
    ) as server:
        client = http(server)
        with gate.gated(doorman):
            for _ in range(3):
                client.request("GET", client.url("items"))
            doorman.closed = True
            with pytest.raises(RateLimited, match="parked"):
                client.request("GET", client.url("items"))
        assert heard == [(200, None), (200, 9.0), (429, 60.0)]
        assert len(server.requests) == 3


def test_a_gate_hides_no_answer_that_tells_of_something_done() -> None:
    """What a gate raises after an answer counts only where nothing was done."""

    class Broken:
        def before_request(self) -> None:
            pass

        def after_answer(self, status: int | None, wait_s: float | None) -> None:
            raise Unavailable("Redis is away")

    with raw_server(answering(OK, answer("429 No"))) as server, gate.gated(Broken()):
        client = http(server)
        assert client.request("POST", client.url("items"), content={}).status == 200
        with pytest.raises(Unavailable, match="Redis"):
            client.request("POST", client.url("items"), content={})
    with raw_server(drop_after_reading) as server, gate.gated(Broken()):
        client = http(server)
        with pytest.raises(OutcomeUnknown):
            client.request("POST", client.url("items"), content={})


@pytest.mark.parametrize("body", (b"", b"nope", b"[" * 100_000, b"NaN", b"\xff\xfe"))
def test_what_is_not_json_is_an_answer_that_cannot_be_used(body: bytes) -> None:
    """To a read; after a write nobody knows what was done."""
    with raw_server(answering(answer("200 OK", body))) as server:
        client = http(server)
        with pytest.raises(BadAnswer):
            client.request("GET", client.url("items")).json()
        with pytest.raises(OutcomeUnknown):
            client.request("POST", client.url("items"), content={}).json()


def test_what_is_no_json_is_not_sent() -> None:
    """Neither NaN nor a set leaves the machine."""
    with raw_server(answering(OK)) as server:
        client = http(server)
        for content in ({"x": float("nan")}, {"x": {1, 2}}):
            with pytest.raises(Rejected):
                client.request("POST", client.url("items"), content=content)
        assert server.requests == []


def test_a_forked_child_has_deadlines_of_its_own() -> None:
    """The watching thread does not survive a fork; the child starts one."""
    with raw_server(answering(OK)) as server:
        client = http(server)
        client.request("GET", client.url("items"))
    with raw_server(never_answer) as server:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            patient = http(server, HttpOptions(read_s=60, total_s=0.3))
            try:
                patient.request("GET", patient.url("items"))
            except Unavailable as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.close(write)
        ended: list[int] = []
        threading.Thread(target=lambda: ended.append(os.waitpid(child, 0)[1]), daemon=True).start()
        wait_until(lambda: ended, 10)
        assert b"whole request" in os.read(read, 1000)
        os.close(read)
