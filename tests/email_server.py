"""A mail server on loopback that answers as its script says, and keeps what it took."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

DROP = "drop"
"""Close the connection instead of answering."""
TAKE_AND_DROP = "take and drop"
"""Keep the message, and close the connection instead of answering."""


@dataclass
class Taken:
    """A message that the server has."""

    at: float
    recipient: str
    data: bytes


@dataclass
class ScriptedServer:
    """``script[verb, address]`` are the answers to come, in order; ``always[verb]`` is given to everybody while it is set.

    An empty answer is the usual one.  Verbs: MAIL (by the sender's address), RCPT and DATA (by the recipient's).
    """

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    script: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    asked: list[tuple[float, str, str]] = field(default_factory=list)
    """Every command, with the moment and the address."""
    slow_s: float = 0.0
    on_data: dict[str, Callable[[], object]] = field(default_factory=dict)
    """What is to happen while this recipient's message is being taken."""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?starttls=never&pause=1"

    def recipients(self) -> list[str]:
        """Who got a message, in order."""
        return [taken.recipient for taken in self.taken]

    # -- aiosmtpd's hooks -----------------------------------------------------------------------------------------------

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        answer = self._answer("MAIL", address, server)
        if answer is not None:
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        answer = self._answer("RCPT", address, server)
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        (address,) = envelope.rcpt_tos
        if self.slow_s:
            import asyncio

            await asyncio.sleep(self.slow_s)
        if address in self.on_data:
            self.on_data[address]()
        answer = self._answer("DATA", address, server, envelope.content)
        if answer is not None:
            return answer
        self._take(address, envelope.content)
        return f"250 2.0.0 Ok: queued as Q{len(self.taken):06d}"

    def _take(self, address: str, content: Any) -> None:
        self.taken.append(Taken(time.time(), address, bytes(content or b"")))

    def _answer(self, verb: str, address: str, server: SMTP, content: Any = None) -> str | None:
        self.asked.append((time.time(), verb, address))
        answers = self.script.get((verb, address))
        answer = (answers.pop(0) or None) if answers else self.always.get(verb)
        if answer == TAKE_AND_DROP:
            self._take(address, content)
        if answer in (DROP, TAKE_AND_DROP):
            transport: Any = server.transport
            transport.abort()
            return "250 never seen"
        return answer


class _Controller(Controller):
    def __init__(self, script: ScriptedServer, **options: Any) -> None:
        self._script = script
        super().__init__(script, **options)

    def factory(self) -> SMTP:
        self._script.connections += 1
        return SMTP(self.handler, **self.SMTP_kwargs)


@contextmanager
def scripted_server(**options: Any) -> Iterator[ScriptedServer]:
    """A running server on a free port; ``options`` are those of aiosmtpd's ``Controller``."""
    script = ScriptedServer(port=options.pop("port", 0) or free_port())
    controller = _Controller(script, hostname="127.0.0.1", port=script.port, **options)
    controller.start()
    # The controller connects once to see whether it is up.
    script.connections = 0
    try:
        yield script
    finally:
        controller.stop()
        for thread in threading.enumerate():
            assert thread.name != "aiosmtpd", "the server is still up"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
