"""Connections that outlive a job: one per provider and process, closed when idle or after enough messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from tasks.email.conversation import Conversation
from tasks.email.providers import Provider


class Connections:
    """The connections that this process keeps; `use` takes one, nobody else has it meanwhile."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._idle: dict[Provider, tuple[Conversation, float]] = {}
        self._timer: threading.Timer | None = None

    @contextmanager
    def use(self, provider: Provider) -> Iterator[Held]:
        """A connection to talk on, opened when first asked for, and kept afterwards if it is still good."""
        held = Held(self, provider)
        try:
            yield held
        finally:
            held.give_back()

    def take(self, provider: Provider) -> Conversation | None:
        """The connection kept for ``provider``, if there is one that is young enough."""
        with self._guard:
            kept = self._idle.pop(provider, None)
        if kept is None:
            return None
        conversation, since = kept
        if monotonic() - since > provider.idle:
            conversation.close()
            return None
        return conversation

    def keep(self, conversation: Conversation) -> None:
        """Keep it for the next job."""
        with self._guard:
            replaced = self._idle.pop(conversation.provider, None)
            self._idle[conversation.provider] = (conversation, monotonic())
            self._wake_later()
        if replaced:
            replaced[0].quit()

    def close_all(self) -> None:
        """Say goodbye to every server."""
        with self._guard:
            kept = [conversation for conversation, _ in self._idle.values()]
            self._idle.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for conversation in kept:
            conversation.quit()

    def _wake_later(self) -> None:
        if self._timer is None and self._idle:
            soonest = min(since + conversation.provider.idle for conversation, since in self._idle.values())
            self._timer = threading.Timer(max(0.05, soonest - monotonic()), self._close_idle)
            self._timer.daemon = True
            self._timer.start()

    def _close_idle(self) -> None:
        with self._guard:
            self._timer = None
            now = monotonic()
            old = [p for p, (_, since) in self._idle.items() if now - since >= p.idle]
            gone = [self._idle.pop(provider)[0] for provider in old]
            self._wake_later()
        for conversation in gone:
            conversation.quit()


class Held:
    """One job's hold on a connection."""

    def __init__(self, connections: Connections, provider: Provider) -> None:
        self._connections = connections
        self._provider = provider
        self._conversation: Conversation | None = None

    def get(self, *, fresh: bool = False) -> Conversation:
        """The open connection; ``fresh``: not one that was kept.

        Raises `tasks.email.conversation.NotConnected`, `tasks.email.providers.BadProvider`.
        """
        current = self._conversation
        if current is not None and (fresh or not current.open):
            current.close()
            current = None
        if current is not None and current.messages >= self._provider.messages:
            current.quit()
            current = None
        if current is None and not fresh:
            current = self._connections.take(self._provider)
        self._conversation = current or Conversation(self._provider)
        return self._conversation

    @property
    def current(self) -> Conversation:
        """The connection that `get` gave last, as it stands."""
        assert self._conversation is not None, "get() comes first"
        return self._conversation

    def reset(self) -> None:
        """Forget the envelope, if there still is a connection."""
        if self._conversation is not None:
            self._conversation.reset()

    def reset_if_needed(self) -> None:
        """`reset` if the server still waits for the rest of an envelope."""
        if self._conversation is not None and self._conversation.in_envelope:
            self._conversation.reset()

    def drop(self) -> None:
        """Close the connection: the next `get` opens another."""
        if self._conversation is not None:
            self._conversation.close()

    def give_back(self) -> None:
        """Keep it for the next job if it can be used."""
        conversation, self._conversation = self._conversation, None
        if conversation is None:
            return
        # In the middle of an envelope (its job was stopped there) the next sender would be refused: nested MAIL.
        good = conversation.open and not conversation.in_envelope
        if good and conversation.messages < self._provider.messages:
            self._connections.keep(conversation)
        else:
            conversation.quit()
