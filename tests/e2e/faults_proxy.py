"""A TCP proxy in front of MySQL that loses what a COMMIT is about: its answer, or itself."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Self

_COMMIT = b"\x03COMMIT"
_ROLLBACK = b"\x03ROLLBACK"
"""COM_QUERY and its text, as PyMySQL sends it."""

ANSWER, ITSELF, LATE = "answer", "itself", "late"
"""What becomes of a COMMIT: its answer is lost; it is lost itself; or the client loses the connection first, and looks, and
only then the COMMIT arrives, `LATE_S` seconds later."""
LATE_S = 0.3


class CommitProxy:
    """Passes everything on, but for the COMMITs that `lose` speaks of; ``lost`` counts them."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._rng = random.Random(0)
        self._share, self._left = 0.0, 0
        self._modes: tuple[str, ...] = ()
        self._after = b""
        threading.Thread(target=self._accept, name="commit-proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def lose(self, *modes: str, share: float, most: int, seed: int, after: str = "") -> None:
        """Lose this share of all COMMITs from now on, ``most`` in all, each in one of ``modes``.

        ``after``: only those of transactions in which a statement held this text.
        """
        with self._guard:
            self._rng, self._modes, self._share, self._left = random.Random(seed), modes, share, most
            self._after = after.encode()

    def _decide(self, wanted: bool) -> str | None:
        with self._guard:
            if not wanted or self._left == 0 or self._rng.random() >= self._share:
                return None
            self._left -= 1
            mode = self._rng.choice(self._modes)
            self.lost[mode] += 1
            return mode

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address, timeout=5)
        except OSError:
            _cut(client)
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        swallow, answered = threading.Event(), threading.Event()
        answers = threading.Thread(target=self._answers, args=(server, client, swallow, answered), daemon=True)
        answers.start()
        with suppress(OSError):
            self._commands(client, server, swallow, answered)
        _cut(server)
        answers.join()
        for end in (client, server):
            end.close()

    def _commands(
        self, client: socket.socket, server: socket.socket, swallow: threading.Event, answered: threading.Event
    ) -> None:
        incoming = client.makefile("rb")
        wanted = False
        while len(head := incoming.read(4)) == 4:
            body = incoming.read(int.from_bytes(head[:3], "little"))
            wanted = wanted or self._after in body
            if body not in (_COMMIT, _ROLLBACK):
                server.sendall(head + body)
                continue
            mode = self._decide(wanted) if body == _COMMIT else None
            wanted = False
            if mode == ITSELF:
                return
            if mode == LATE:
                _cut(client)
                time.sleep(LATE_S)
            if mode is not None:
                swallow.set()
            server.sendall(head + body)
            if mode is not None:
                # Not cut off before it has committed.
                answered.wait()
                return

    def _answers(
        self, server: socket.socket, client: socket.socket, swallow: threading.Event, answered: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if swallow.is_set():
                    break
                client.sendall(data)
        answered.set()
        _cut(client)


def _cut(end: socket.socket) -> None:
    # Not close(): the file made of it would keep it open.
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
