"""What an HTTP status means for the caller; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tasks.sync.remote_errors import (
    AuthFailed,
    BadAnswer,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    RemoteError,
    Unavailable,
    VersionMoved,
)
from tasks.sync.retry_after import wait_asked_s

READS = frozenset({"GET", "HEAD"})
MAX_ERROR_CHARACTERS = 300
"""Of an error's body, in messages."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.  ``request``: method and path, for messages; ``headers`` finds names in any case."""

    request: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def reads(self) -> bool:
        """Whether the request only read."""
        return self.request.split(" ", 1)[0] in READS

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON.  Raises `BadAnswer`, or `OutcomeUnknown` if it answers a write: that may well have been done."""
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise unusable_answer(self, "the body is not JSON") from None

    def text(self) -> str:
        """The beginning of the body, for messages: printable, in one line."""
        text = self.body[: 4 * MAX_ERROR_CHARACTERS].decode("utf-8", "replace")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= MAX_ERROR_CHARACTERS else line[:MAX_ERROR_CHARACTERS] + "…"


def unusable_answer(answer: Answer, reason: str) -> RemoteError:
    """The error for an answer of the wrong shape: to a write it says nothing about what became of it."""
    message = f"{answer.request}: {answer.status}, but {reason}: {answer.text()}"
    return BadAnswer(message, status=answer.status) if answer.reads else OutcomeUnknown(message, status=answer.status)


def check(answer: Answer) -> Answer:
    """The answer, if its status is 2xx; else raise what it means.

    ======================  ==================================================================================
    429, 403 with a wait    `RateLimited`: not done
    503, 408, 425           `Unavailable`: not done
    other 5xx               to a read `Unavailable`; to a write `OutcomeUnknown`: it may be done all the same
    401, 403                `AuthFailed`
    404, 410                `NotFound`
    412                     `VersionMoved`
    other 4xx, 3xx          `Rejected`
    ======================  ==================================================================================
    """
    if not answer.ok:
        refuse(answer)
    return answer


def refuse(answer: Answer) -> NoReturn:
    """Raise what a status other than 2xx means; see `check`."""
    status = answer.status
    wait_s = wait_asked_s(status, answer.headers)
    message = f"{answer.request}: {status} {answer.text()}".rstrip()
    if status == 429 or (status == 403 and wait_s is not None):
        raise RateLimited(message, retry_after_s=wait_s, status=status)
    if status in (408, 425, 503) or (status >= 500 and answer.reads):
        raise Unavailable(message, retry_after_s=wait_s, status=status)
    if status >= 500:
        raise OutcomeUnknown(message, retry_after_s=wait_s, status=status)
    if status in (401, 403):
        raise AuthFailed(message, status=status)
    if status in (404, 410):
        raise NotFound(message, status=status)
    if status == 412:
        raise VersionMoved(message, status=status)
    raise Rejected(message, status=status, body=answer.text())


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
