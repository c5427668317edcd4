"""A TCP proxy in front of MySQL: it loses what a COMMIT is about, its answer or itself, and answers as a deadlock does."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Self

_COMMIT, _ROLLBACK = b"\x03COMMIT", b"\x03ROLLBACK"
"""COM_QUERY and its text, as PyMySQL sends it."""

ANSWER, ITSELF, LATE = "answer", "itself", "late"
"""What becomes of a COMMIT: its answer is lost; it is lost itself; or the client loses the connection first, and looks, and
only then the COMMIT arrives, `LATE_S` seconds later."""
LATE_S = 0.3
DEADLOCK, LOCK_WAIT = "deadlock", "lock_wait"
"""What becomes of a statement: the transaction is rolled back and 1213 answered; or the statement alone does not happen,
1205 is answered, and the transaction stands as it was."""

_ERRORS = {
    DEADLOCK: (1213, "Deadlock found when trying to get lock; try restarting transaction"),
    LOCK_WAIT: (1205, "Lock wait timeout exceeded; try restarting transaction"),
}


class CommitProxy:
    """Passes everything on, but for what `lose` speaks of; ``lost`` counts that."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.lost: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._rng = random.Random(0)
        self._share, self._left = 0.0, 0
        self._modes: tuple[str, ...] = ()
        self.after = b""
        self.turn = 0
        """Which `lose` is in force: a transaction that was under way before it is none of its business."""
        self.refusing = False
        """Whether new connections are cut."""
        self._refuse_then = False
        threading.Thread(target=self._accept, name="commit-proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def lose(self, *modes: str, share: float, most: int, seed: int, after: str = "", refuse_then: bool = False) -> None:
        """Have this share of what ``modes`` speak of happen from now on, ``most`` times in all.

        ``after``: only to COMMITs of transactions in which a statement held this text, or to these statements.
        ``refuse_then``: with the first time, MySQL is out of reach for new connections, until ``refusing`` is unset.
        """
        with self._guard:
            self._refuse_then = refuse_then
            self._rng, self._modes, self._share, self._left = random.Random(seed), modes, share, most
            self.after = after.encode()
            self.turn += 1

    def decide(self, *possible: str) -> str | None:
        """What is to happen now, if anything."""
        with self._guard:
            modes = [mode for mode in self._modes if mode in possible]
            if not modes or self._left == 0 or self._rng.random() >= self._share:
                return None
            self._left -= 1
            self.refusing = self.refusing or self._refuse_then
            mode = self._rng.choice(modes)
            self.lost[mode] += 1
            return mode

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            if self.refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(self._address, timeout=5)
        except OSError:
            _cut(client)
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Session(self, client, server).run()


class Session:
    """One client's connection, a thread for each way."""

    def __init__(self, proxy: CommitProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._instead: bytes | None = None
        self._cut_at_answer = False
        self._answers_end = threading.Event()

    def run(self) -> None:
        """Until either side is gone."""
        answers = threading.Thread(target=self._answers, daemon=True)
        answers.start()
        with suppress(OSError):
            self._commands()
        _cut(self._server)
        answers.join()
        for end in (self._client, self._server):
            end.close()

    def _commands(self) -> None:
        incoming = self._client.makefile("rb")
        wanted: int | None = None
        while len(head := incoming.read(4)) == 4:
            body = incoming.read(int.from_bytes(head[:3], "little"))
            if body == _COMMIT and wanted == self._proxy.turn and (mode := self._proxy.decide(ANSWER, ITSELF, LATE)):
                self._lose(mode, head + body)
                return
            if body in (_COMMIT, _ROLLBACK):
                wanted = None
            elif self._proxy.after in body:
                wanted = self._proxy.turn
                if mode := self._proxy.decide(DEADLOCK, LOCK_WAIT):
                    self._refuse(mode)
                    continue
            self._server.sendall(head + body)

    def _lose(self, mode: str, commit: bytes) -> None:
        if mode == ITSELF:
            return
        if mode == LATE:
            _cut(self._client)
            time.sleep(LATE_S)
        self._cut_at_answer = True
        self._server.sendall(commit)
        # Not cut off before it has committed.
        self._answers_end.wait()

    def _refuse(self, mode: str) -> None:
        code, message = _ERRORS[mode]
        answer = _packet(1, b"\xff" + code.to_bytes(2, "little") + b"#40001" + message.encode())
        if mode == LOCK_WAIT:
            self._client.sendall(answer)
            return
        self._instead = answer
        self._server.sendall(_packet(0, _ROLLBACK))

    def _answers(self) -> None:
        with suppress(OSError):
            while (data := self._server.recv(65536)) and not self._cut_at_answer:
                if self._instead is not None:
                    data, self._instead = self._instead, None
                self._client.sendall(data)
        self._answers_end.set()
        _cut(self._client)


def _packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def _cut(end: socket.socket) -> None:
    # Not close(): the file made of it would keep it open.
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
