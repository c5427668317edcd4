"""The classification of mail servers' answers, as a table."""

from __future__ import annotations

import pytest

from tasks.email.answers import DAILY_PAUSE_S, NO_ANSWER, PAUSE_S, RATE_PAUSE_S, Action, Stage, classify, enhanced_code

C, U, M, R, D, B = Stage.CONNECT, Stage.AUTH, Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.BODY

TABLE = [
    # taken
    (M, 250, "2.1.0 Ok", Action.ACCEPT),
    (R, 250, "2.1.5 Ok", Action.ACCEPT),
    (R, 251, "User not local; will forward", Action.ACCEPT),
    (B, 250, "2.0.0 Ok: queued as 4F1C2", Action.ACCEPT),
    # later
    (R, 450, "4.2.0 Greylisted, try again in 5 minutes", Action.DEFER),
    (R, 450, "4.2.1 mailbox temporarily disabled", Action.DEFER),
    (R, 451, "4.3.0 local error in processing", Action.DEFER),
    (R, 451, "local error in processing", Action.DEFER),
    (R, 452, "4.2.2 mailbox full", Action.DEFER),
    (B, 451, "4.7.0 temporarily deferred", Action.DEFER),
    (B, 452, "4.3.1 insufficient system storage", Action.DEFER),
    (M, 451, "4.7.1 try again later", Action.DEFER),
    # the provider says wait
    (B, 454, "Throttling failure: Maximum sending rate exceeded.", Action.WAIT),
    (M, 454, "4.7.0 Throttling failure: Daily message quota exceeded", Action.WAIT),
    (R, 421, "4.7.0 our system has detected an unusual amount of mail", Action.WAIT),
    (B, 421, "4.7.0 Too many messages", Action.WAIT),
    (R, 450, "4.7.1 rate limit exceeded", Action.WAIT),
    (M, 452, "4.5.3 too many recipients", Action.WAIT),
    (C, 421, "service not available", Action.WAIT),
    (C, 454, "4.7.0 TLS not available due to temporary reason", Action.WAIT),
    (U, 454, "4.7.0 temporary authentication failure", Action.WAIT),
    (M, NO_ANSWER, "connection lost", Action.WAIT),
    (R, NO_ANSWER, "timed out", Action.WAIT),
    (D, NO_ANSWER, "lost while the message was being sent", Action.DEFER),
    # the address
    (R, 550, "5.1.1 no such user", Action.HARD),
    (B, 550, "5.1.1 no such user", Action.HARD),
    (R, 550, "5.1.2 bad destination system", Action.HARD),
    (R, 501, "5.1.3 bad destination syntax", Action.HARD),
    (R, 551, "5.1.6 mailbox has moved", Action.HARD),
    (R, 556, "5.1.10 recipient address has a null MX", Action.HARD),
    (R, 550, "No such user here", Action.HARD),
    (R, 550, "Requested action not taken: mailbox unavailable", Action.HARD),
    (R, 550, "<ann@example.org>: Recipient address rejected: User unknown in local recipient table", Action.HARD),
    (R, 553, "sorry, this recipient does not exist", Action.HARD),
    (R, 550, "5.2.1 mailbox disabled", Action.DISABLED),
    # us, not the address
    (R, 550, "5.7.1 message refused", Action.POLICY),
    (B, 550, "5.7.26 unauthenticated mail", Action.POLICY),
    (B, 554, "5.7.1 blocked using a list", Action.POLICY),
    (B, 554, "Message rejected", Action.POLICY),
    (R, 554, "Transaction failed", Action.POLICY),
    (R, 550, "blocked using zen.spamhaus.org; no such user", Action.POLICY),
    (R, 550, "Administrative prohibition: policy", Action.POLICY),
    (R, 553, "relaying denied", Action.POLICY),
    (M, 550, "5.1.1 sender unknown", Action.POLICY),
    (M, 553, "5.1.8 bad sender's system address", Action.POLICY),
    (R, 553, "5.1.7 bad sender's mailbox syntax", Action.POLICY),
    (M, 550, "5.4.1 sender refused", Action.POLICY),
    (C, 554, "5.3.2 no SMTP service here", Action.POLICY),
    (C, 550, "go away", Action.POLICY),
    # the message
    (B, 552, "5.3.4 message too big", Action.MESSAGE),
    (M, 552, "message size exceeds limit", Action.MESSAGE),
    (B, 554, "5.6.0 message content rejected", Action.MESSAGE),
    (B, 550, "5.6.7 address is not ASCII", Action.MESSAGE),
    (R, 552, "5.2.3 message length exceeds administrative limit", Action.MESSAGE),
    # neither
    (R, 552, "5.2.2 mailbox full", Action.FAIL),
    (R, 550, "5.4.6 routing loop", Action.FAIL),
    (R, 550, "Requested action not taken", Action.FAIL),
    (B, 550, "No such user here", Action.FAIL),
    (M, 503, "5.5.1 nested MAIL command", Action.DEFER),
    (R, 503, "5.5.1 bad sequence of commands", Action.DEFER),
    # the provider, for good
    (M, 530, "5.7.0 authentication required", Action.STOP),
    (U, 535, "5.7.8 authentication credentials invalid", Action.STOP),
    (U, 535, "authentication failed", Action.STOP),
    (U, 534, "5.7.9 mechanism too weak", Action.STOP),
    (U, 550, "account suspended", Action.STOP),
    (R, 530, "5.7.0 must issue STARTTLS first", Action.STOP),
    # nobody knows
    (B, NO_ANSWER, "connection lost", Action.IN_DOUBT),
    (B, NO_ANSWER, "timed out", Action.IN_DOUBT),
    (B, -1, "garbage", Action.IN_DOUBT),
    (B, 354, "go ahead, again", Action.IN_DOUBT),
]


@pytest.mark.parametrize(("stage", "code", "text", "action"), TABLE)
def test_each_answer_means_one_action(stage: Stage, code: int, text: str, action: Action) -> None:
    """The table of what answers mean."""
    assert classify(stage, code, text).action is action


@pytest.mark.parametrize(
    ("code", "text", "slow", "pause_s"),
    [
        (450, "4.2.2 mailbox full", False, 0),
        (450, "4.7.0 deferred", True, 0),
        (451, "local error", True, 0),
        (454, "Throttling failure: Maximum sending rate exceeded.", True, RATE_PAUSE_S),
        (454, "Throttling failure: Daily message quota exceeded.", True, DAILY_PAUSE_S),
        (421, "service shutting down", True, PAUSE_S),
        (550, "5.1.1 unknown", False, 0),
    ],
)
def test_what_speed_an_answer_asks_for(code: int, text: str, slow: bool, pause_s: float) -> None:
    """A full mailbox says nothing of our speed; a throttle says how long to be quiet."""
    answer = classify(Stage.RCPT, code, text)
    assert (answer.slow, answer.pause_s) == (slow, pause_s)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 unknown", "5.1.1"),
        (550, "5.1.10 null MX", "5.1.10"),
        (550, "4.1.1 of another class", None),
        (550, "host 5.1.1.7 is listed", None),
        (550, "5.1.1.7 is listed", None),
        (250, "ok", None),
    ],
)
def test_an_enhanced_code_stands_in_front_and_is_of_the_reply_s_class(
    code: int, text: str, expected: str | None
) -> None:
    """An IP address in the text is no code."""
    assert enhanced_code(code, text) == expected


def test_texts_are_one_bounded_line() -> None:
    """What a server says goes into a column and onto a terminal."""
    assert classify(Stage.RCPT, 450, "a\r\nb" + "x" * 10_000).text[:4] == "a bx"
    assert len(classify(Stage.RCPT, 450, "x" * 10_000).text) == 500
