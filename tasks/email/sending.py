"""One batch, recipient by recipient: wait, envelope, commit the phase, DATA, write down what came of it.

The phase is committed before DATA: a crash before it sends nothing, a crash after it leaves the recipient in doubt.  What
one message came to is written together with the phase of the next, in one transaction; before anything is waited for, and
when the batch ends or is stopped, it is written by itself.  Where messages go faster than COMMITs, several phases share one.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection

from tasks import failpoints
from tasks.email import ledger
from tasks.email.addresses import Address, parse_address
from tasks.email.answers import NO_ANSWER, PAUSE_S, Action, Answer
from tasks.email.connections import Held
from tasks.email.conversation import Conversation, NotConnected, Stale, queue_id
from tasks.email.errors import BadMessage
from tasks.email.flight import Flight
from tasks.email.ledger import Result, Row, State
from tasks.email.message import Message, Rendered
from tasks.email.providers import Provider
from tasks.email.retries import Retries
from tasks.email.suppressions import suppress
from tasks.email.throttle import SLICE_S, NotNow, Slot, Throttle
from tasks.errors import PauseRun

SHUTTING_DOWN = 421
"""Said at any time (RFC 5321, 3.8): to all of us when the server is busy, or always at one recipient that it chokes on."""
MESSAGE_FAULTS_IN_A_ROW = 3
"""So many recipients one after another whose message is refused: it is the message."""


MAX_LEAD_S = 0.25
"""An envelope is not opened longer than this before its slot."""


class Machinery(Protocol):
    """What sending needs of the run that it belongs to."""

    def stop_if_asked(self) -> None:
        """Raise if the run was paused or cancelled."""

    def checkpoint(self, fn: Callable[[Connection], Any]) -> Any:
        """Run ``fn`` in a transaction that commits only while this worker still has the job and the run is running."""

    def write(self, fn: Callable[[Connection], Any]) -> Any:
        """Run ``fn`` in a transaction that commits whatever became of the run: what happened, happened."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What all recipients of a batch share.

    ``claim``   the token that this claim put on the ledger's rows
    ``scopes``  the scopes of the suppression list that hold here
    ``resend``  what is in doubt is sent again
    ``flight``  how many may be between their phase and its outcome at once: so many a crash may leave in doubt
    """

    claim: str
    scopes: Sequence[str]
    retries: Retries
    resend: bool = False
    flight: Flight = field(default_factory=lambda: Flight(1))


class Sender:
    """Sends one batch."""

    def __init__(
        self,
        batch: Batch,
        message: Message,
        provider: Provider,
        held: Held,
        throttle: Throttle,
        machinery: Machinery,
    ) -> None:
        self._batch = batch
        self._message = message
        self._provider = provider
        self._held = held
        self._throttle = throttle
        self._machinery = machinery
        self._unwritten: list[tuple[Result, Row, Answer | None]] = []
        self._message_faults = 0
        self._flight = batch.flight
        self._held_up: dict[str, NotNow] = {}
        self._committing_s = 0.0
        self._lead_s = 0.0
        self.counts: Counter[str] = Counter()

    def send(self, rows: Sequence[Row]) -> None:
        """Send to every recipient.

        A limit of some domains holds up their recipients alone: the others of the batch are sent to first.

        Raises `NotNow` if the provider, a limit or Redis says later, `PauseRun` if it makes no sense to go on before
        somebody has looked, and whatever the machinery raises to stop the work.  Whatever is raised, what is known by
        then is in the ledger.
        """
        waiting = deque(rows)
        try:
            while waiting:
                self._machinery.stop_if_asked()
                group = [waiting.popleft() for _ in range(min(self._flight.size, len(waiting)))]
                rendered = [(row, made) for row in group if (made := self._render(row)) is not None]
                rendered = [(row, made) for row, made in rendered if not self._is_held_up(made[0])]
                began = time.monotonic()
                try:
                    if len(group) == 1:
                        self._send_one(*rendered[0]) if rendered else None
                    else:
                        self._send_group(rendered)
                except NotNow as later:
                    self._hold_up(later)
                self._flight.took(time.monotonic() - began - self._committing_s, len(group))
                self._committing_s = 0.0
        finally:
            self.flush()
        if self._held_up:
            raise min(self._held_up.values(), key=lambda later: later.wait_s)

    def flush(self) -> None:
        """Write down what is known and not written yet."""
        if not self._unwritten:
            return
        began = time.monotonic()
        self._machinery.write(self._write_results)
        self._unwritten.clear()
        self._committing_s += time.monotonic() - began

    def _is_held_up(self, address: Address) -> bool:
        return bool(self._held_up) and self._throttle.group(address.domain) in self._held_up

    def _hold_up(self, later: NotNow) -> None:
        """Leave the domains of a group for later; a wait that is everybody's is raised."""
        if later.group is None:
            raise later
        self._held_up[later.group] = later

    def _render(self, row: Row) -> tuple[Address, Rendered] | None:
        address = parse_address(row.address)
        try:
            return address, self._message.render(address, row.variables, at=datetime.now(UTC))
        except BadMessage as error:
            self._note(row, Result(row.id, State.FAILED, row.attempts, reason=str(error)[:500]))
            return None

    def _send_one(self, row: Row, made: tuple[Address, Rendered]) -> None:
        """The phase is committed when nothing but DATA is left to be said: a refusal before it needs none.

        Envelope and COMMIT are done shortly before the slot, so that how long they take does not shift the message.
        """
        address, rendered = made
        slot = self._throttle.reserve(address.domain)
        self._throttle.approach(slot, self._lead_s, self._pause)
        began = time.monotonic()
        answer = self._envelope(row, rendered)
        if answer.action is Action.ACCEPT:
            if not self._begin([(row, rendered)]):
                self._held.reset()
                return
            took_s = time.monotonic() - began
            self._lead_s = min(MAX_LEAD_S, max(took_s, 0.9 * self._lead_s))
            self._wait_in_sending(row, address, slot)
            answer = self._deliver(rendered)
        self._settle(row, self._after_envelope(answer))

    def _wait_in_sending(self, row: Row, address: Address, slot: Slot) -> None:
        if self._throttle.unlimited:
            return
        try:
            if not self._throttle.arrive(slot, self._pause):
                self._throttle.wait(address.domain, self._pause)
        except BaseException:
            # Stopped, or no slot is near any more: nothing was sent.
            self._unwritten.append((Result(row.id, State.CLAIMED, row.attempts), row, None))
            raise

    def _send_group(self, group: Sequence[tuple[Row, tuple[Address, Rendered]]]) -> None:
        """Where a COMMIT takes longer than a message: one for the phases of several, which then go one after another."""
        if not group:
            return
        if self._throttle.unlimited:
            self._throttle.wait(group[0][1][0].domain, self._pause)
        begun = self._begin([(row, rendered) for row, (_, rendered) in group])
        left = deque((row, made) for row, made in group if row.id in begun)
        try:
            while left:
                row, (address, rendered) = left[0]
                if not self._throttle.unlimited and not self._may_go(row, address):
                    left.popleft()
                    continue
                answer = self._envelope(row, rendered)
                # From here on it is `_settle` that knows what became of this one.
                left.popleft()
                if answer.action is Action.ACCEPT:
                    answer = self._deliver(rendered)
                self._settle(row, self._after_envelope(answer))
        finally:
            # Stopped in the middle: to these nothing was sent, and this process lives to say so.
            for row, _ in left:
                if row.id not in {result.id for result, _, _ in self._unwritten}:
                    self._unwritten.append((Result(row.id, State.CLAIMED, row.attempts), row, None))

    def _may_go(self, row: Row, address: Address) -> bool:
        """Wait for the slot of one whose phase is committed; False: its domain must wait longer, it is taken back."""
        try:
            if not self._is_held_up(address):
                self._throttle.wait(address.domain, self._pause)
                return True
        except NotNow as later:
            self._hold_up(later)
        self._unwritten.append((Result(row.id, State.CLAIMED, row.attempts), row, None))
        return False

    def _pause(self, seconds: float) -> None:
        """Sleep a slice of a wait: what is known is written down first, and whoever asks to stop is heard."""
        self.flush()
        self._machinery.stop_if_asked()
        time.sleep(min(seconds, SLICE_S))

    def _deliver(self, rendered: Rendered) -> Answer:
        failpoints.hit("email.before_data")
        answer = self._held.current.deliver(rendered.data)
        failpoints.hit("email.after_data")
        return answer

    def _after_envelope(self, answer: Answer) -> Answer:
        """Leave the connection ready for the next sender."""
        if answer.code == 503:
            self._held.drop()
        else:
            self._held.reset_if_needed()
        return answer

    def _envelope(self, row: Row, rendered: Rendered) -> Answer:
        """MAIL and RCPT, on a kept connection if it still lives."""
        sender = self._message.sender.normalised
        say = partial(
            Conversation.envelope,
            sender=sender,
            recipient=row.address,
            size=len(rendered.data),
            eight_bit=not rendered.data.isascii(),
            smtputf8=rendered.smtputf8,
        )
        try:
            try:
                return say(self._held.get())
            except Stale:
                return say(self._held.get(fresh=True))
        except NotConnected as error:
            return self._not_connected(row, error.answer)

    def _not_connected(self, row: Row, answer: Answer) -> Answer:
        if answer.action is Action.WAIT:
            self._wait(row, answer, "cannot be reached")
        raise PauseRun(self._why(f"provider {self._provider.name} does not let us in", answer))

    def _begin(self, group: Sequence[tuple[Row, Rendered]]) -> set[int]:
        """Commit the phases, and what the messages before came to; the ids of those that may be sent."""

        def steps(connection: Connection) -> set[int]:
            self._write_results(connection)
            begun = [(row, rendered.message_id) for row, rendered in group]
            return ledger.begin(connection, begun, claim=self._batch.claim, scopes=self._batch.scopes)

        began = time.monotonic()
        try:
            begun: set[int] = self._machinery.checkpoint(steps)
        except BaseException:
            # Committed or not: nothing was sent.
            self._unwritten += [(Result(row.id, State.CLAIMED, row.attempts), row, None) for row, _ in group]
            raise
        finally:
            self._committing_s += time.monotonic() - began
        self._unwritten.clear()
        for row, _ in group:
            if row.id not in begun:
                # Suppressed since it was claimed; or not ours any more, then this changes nothing.
                reason = "suppressed while the campaign was running"
                self._note(row, Result(row.id, State.SUPPRESSED, row.attempts, reason=reason))
        return begun

    # -- what an answer leads to ----------------------------------------------------------------------------------------

    def _settle(self, row: Row, answer: Answer) -> None:
        tried = row.attempts + 1
        if answer.slow:
            self._throttle.slow_down()
        if answer.action is not Action.MESSAGE:
            self._message_faults = 0
        match answer.action:
            case Action.ACCEPT:
                self._note(row, _result(row, State.SENT, answer))
            case Action.DEFER:
                self._defer(row, answer)
            case Action.DISABLED if row.enhanced != answer.enhanced:
                self._defer(row, answer)
            case Action.HARD | Action.DISABLED:
                self._note(row, _result(row, State.FAILED, answer, reason="the address does not take mail"), answer)
            case Action.FAIL:
                self._note(row, _result(row, State.FAILED, answer, reason="refused for good"))
            case Action.MESSAGE:
                self._note(row, _result(row, State.FAILED, answer, reason="the message was refused"))
                self._message_faults += 1
                if self._message_faults >= MESSAGE_FAULTS_IN_A_ROW:
                    raise PauseRun(
                        self._why(f"{self._message_faults} recipients in a row: the message is refused", answer)
                    )
            case Action.IN_DOUBT if self._batch.resend and not self._batch.retries.exhausted(tried):
                self._defer(row, answer)
            case Action.IN_DOUBT:
                reason = "the connection was lost before the message was acknowledged"
                self._note(row, _result(row, State.IN_DOUBT, answer, reason=reason))
            case Action.WAIT if answer.code == SHUTTING_DOWN and row.code == SHUTTING_DOWN:
                # Twice at this recipient, with others tried in between: it is the recipient that the server hangs up at.
                self._defer(row, answer)
            case Action.WAIT:
                self._wait(row, answer, "says wait")
            case Action.POLICY:
                self._note(row, _kept(row, answer))
                raise PauseRun(self._why("refused by policy, the address is kept", answer))
            case Action.STOP:
                self._note(row, _kept(row, answer))
                raise PauseRun(self._why(f"provider {self._provider.name} does not let us in", answer))

    def _defer(self, row: Row, answer: Answer) -> None:
        tried = row.attempts + 1
        if self._batch.retries.exhausted(tried):
            self._note(row, _result(row, State.FAILED, answer, reason=f"given up after {tried} attempts"))
        else:
            due_in_s = self._batch.retries.due_in_s(tried)
            self._note(row, _result(row, State.DEFERRED, answer, due_in_s=due_in_s))

    def _wait(self, row: Row, answer: Answer, what: str) -> None:
        """All workers leave the provider alone; the recipient comes last when the job comes back, with no attempt used."""
        self._note(row, _kept(row, answer))
        for_s = self._provider.pause if answer.pause_s == PAUSE_S else answer.pause_s
        why = self._why(f"provider {self._provider.name} {what}", answer)
        self._throttle.pause(for_s, why)
        raise NotNow(why, wait_s=for_s)

    def _note(self, row: Row, result: Result, hard: Answer | None = None) -> None:
        self._unwritten.append((result, row, hard))
        if result.state is not State.CLAIMED:
            self.counts[result.state.value] += 1

    def _write_results(self, connection: Connection) -> None:
        claim = self._batch.claim
        ledger.finish_sent(connection, [r for r, _, _ in self._unwritten if r.state is State.SENT], claim=claim)
        for result, row, hard in self._unwritten:
            if result.state is State.SENT:
                continue
            written = ledger.finish(connection, result, claim=claim)
            if written and hard is not None:
                suppress(connection, row.address, reason="bounce", detail=f"{hard.code} {hard.text}")

    @staticmethod
    def _why(what: str, answer: Answer) -> str:
        said = f"{answer.code} {answer.text}" if answer.code != NO_ANSWER else answer.text
        return f"{what}: {said}"


def _result(
    row: Row, state: State, answer: Answer, *, reason: str | None = None, due_in_s: float | None = None
) -> Result:
    return Result(
        row.id,
        state,
        row.attempts + 1,
        code=answer.code,
        enhanced=answer.enhanced,
        response=answer.text,
        queue_id=queue_id(answer.text) if state is State.SENT else None,
        reason=reason,
        due_in_s=due_in_s,
    )


def _kept(row: Row, answer: Answer) -> Result:
    """The recipient stays in hand, no attempt used; with a due time it comes behind those that were never tried."""
    return Result(
        row.id,
        State.CLAIMED,
        row.attempts,
        code=answer.code,
        enhanced=answer.enhanced,
        response=answer.text,
        due_in_s=0.0,
    )
