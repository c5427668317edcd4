"""What a mail server's answer means: pure, so that a table of tests can hold it.

Sources: RFC 5321 (replies), RFC 3463, RFC 5248 and RFC 7372 (enhanced codes), and what large providers answer in practice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """Where in the conversation the answer was given."""

    CONNECT = "connect"
    """The greeting, EHLO, STARTTLS."""
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """To the command DATA: nothing of the message was sent yet."""
    BODY = "body"
    """To the final dot."""


class Action(StrEnum):
    """What is done about it."""

    ACCEPT = "accept"
    """Sent."""
    DEFER = "defer"
    """This recipient later; costs one of its attempts."""
    WAIT = "wait"
    """The provider says wait: its key is paused for all workers, no attempt is used."""
    HARD = "hard"
    """The address is dead: failed, and suppressed everywhere."""
    DISABLED = "disabled"
    """The mailbox is disabled: deferred once; the second time it is dead."""
    POLICY = "policy"
    """We are refused, not the address: the campaign is paused, the recipient kept."""
    MESSAGE = "message"
    """The message is refused: this recipient failed, its address is fine."""
    FAIL = "fail"
    """Refused for good for a reason that says nothing of the address: failed, not suppressed."""
    STOP = "stop"
    """The provider does not let us in: the campaign is paused until its URL is mended, the recipient kept."""
    IN_DOUBT = "in_doubt"
    """Whether the message was taken cannot be known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and its meaning; ``slow``: halve the rate; ``pause_s``: how long the provider is left alone (for WAIT)."""

    action: Action
    code: int
    enhanced: str | None
    text: str
    slow: bool = False
    pause_s: float = 0.0


NO_ANSWER: Final = 0
"""The code of an answer that never came."""
MAX_TEXT_CHARS = 500
PAUSE_S = 60.0
"""Where the answer does not say how long."""
RATE_PAUSE_S = 5.0
"""Too many a second: the halved rate does the rest."""
DAILY_PAUSE_S = 3600.0

_HARD = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_MESSAGE = frozenset({"5.2.3", "5.3.4"})
_SAYS_NOTHING = frozenset({"5.0.0", "5.5.0"})
_SENDER = frozenset({"5.1.7", "5.1.8"})
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
_RATE = re.compile(r"throttl|\brate\b|too (?:many|fast|quick)|slow down|quota|sending limit|connections", re.IGNORECASE)
_DAILY = re.compile(r"\bdaily\b|per day|24[- ]?h", re.IGNORECASE)
_POLICY = re.compile(
    r"polic|block|spam|blacklist|blocklist|\blisted\b|reputation|banned|abuse|\bdeni|refused by|not authori[sz]ed"
    r"|dmarc|\bspf\b|dkim|relay",
    re.IGNORECASE,
)
_WHO = "(?:user|recipient|mailbox|address|account|person)"
_UNKNOWN = re.compile(
    rf"{_WHO}\S*\s+(?:is\s+)?(?:unknown|not found|invalid|unavailable|does(?:n't| not) exist|not exist)"
    rf"|(?:unknown|invalid|no such|non-?existent)\s+(?:\w+\s+)?{_WHO}",
    re.IGNORECASE,
)
_AUTH_CODES = frozenset({530, 534, 535, 538})


def classify(stage: Stage, code: int, text: str) -> Answer:
    """What ``code`` and ``text``, given at ``stage``, mean for the recipient, the provider and the campaign.

    ``code`` is `NO_ANSWER` for a connection that was lost or timed out, -1 for an answer that is none.  A connection that
    is lost behind the final dot leaves the message in doubt (RFC 1047); lost anywhere else, nothing was taken.
    """
    text = " ".join(text.split())[:MAX_TEXT_CHARS]
    enhanced = enhanced_code(code, text)
    if code <= 0 or not 200 <= code < 600 or 300 <= code < 400:
        if stage is Stage.BODY:
            return Answer(Action.IN_DOUBT, max(code, 0), None, text)
        if stage is Stage.DATA:
            # Lost while the message was on its way: it may be this message that the server cannot take.
            return Answer(Action.DEFER, max(code, 0), None, text)
        return Answer(Action.WAIT, max(code, 0), None, text, pause_s=RATE_PAUSE_S)
    if code < 300:
        return Answer(Action.ACCEPT, code, enhanced, text)
    if code == 503 and stage is not Stage.CONNECT and stage is not Stage.AUTH:
        # Bad sequence of commands: the connection is out of step, which is nobody's address and nobody's message.
        return Answer(Action.DEFER, code, enhanced, text)
    if code < 500:
        return _for_now(stage, code, enhanced, text)
    return Answer(_for_good(stage, code, enhanced, text), code, enhanced, text)


def enhanced_code(code: int, text: str) -> str | None:
    """The enhanced status code of an answer if it has one of its class; for example ``5.1.1``."""
    found = _ENHANCED.match(text)
    return found[0] if found and found[1] == str(code)[0] else None


def _for_now(stage: Stage, code: int, enhanced: str | None, text: str) -> Answer:
    throttled = code == 454 or bool(_RATE.search(text))
    if throttled or code == 421 or stage in (Stage.CONNECT, Stage.AUTH):
        pause_s = DAILY_PAUSE_S if _DAILY.search(text) else RATE_PAUSE_S if _RATE.search(text) else PAUSE_S
        return Answer(Action.WAIT, code, enhanced, text, slow=True, pause_s=pause_s)
    # A full mailbox (4.2.x) or an unknown host is this recipient's trouble; anything else may be our speed.
    slow = enhanced is None or not enhanced.startswith(("4.1.", "4.2.", "4.4."))
    return Answer(Action.DEFER, code, enhanced, text, slow=slow)


def _for_good(stage: Stage, code: int, enhanced: str | None, text: str) -> Action:
    if code in _AUTH_CODES or stage is Stage.AUTH or (enhanced in ("5.7.8", "5.7.9", "5.7.11")):
        return Action.STOP
    if stage is Stage.CONNECT:
        return Action.POLICY
    if enhanced is not None and enhanced not in _SAYS_NOTHING:
        return _by_enhanced(stage, enhanced)
    if code == 552:
        return Action.MESSAGE
    if code == 554 or _POLICY.search(text):
        # Before the words for an unknown user: a block that also names the mailbox must not cost a real address.
        return Action.POLICY
    if code in (550, 551, 553) and stage is Stage.RCPT and _UNKNOWN.search(text):
        return Action.HARD
    return Action.FAIL


def _by_enhanced(stage: Stage, enhanced: str) -> Action:
    if enhanced in _HARD:
        # Where the sender is talked of, the address that does not exist is ours.
        return Action.POLICY if stage is Stage.MAIL else Action.HARD
    if enhanced == "5.2.1":
        return Action.DISABLED
    if enhanced in _MESSAGE or enhanced.startswith("5.6."):
        return Action.MESSAGE
    if enhanced in _SENDER or enhanced.startswith("5.7.") or stage is Stage.MAIL:
        return Action.POLICY
    return Action.FAIL
