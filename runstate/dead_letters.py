"""Dead letters: written in the transaction that gives a job up, resolved by people."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from runstate import documents

if TYPE_CHECKING:
    from runstate.claims import Claim
    from runstate.outcomes import Outcome


def fingerprint(kind: str, error_class: str, error: str) -> str:
    """A name for "the same trouble": kind, class and message with its numbers, ids and quoted values taken out."""
    shape = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", error)
    shape = re.sub(r"\b[0-9a-f]{8,}(-[0-9a-f]{4,})*\b|\d+", "#", shape)
    return hashlib.sha256(documents.dump([kind, error_class, shape[:500]]).encode()).hexdigest()[:16]


_WRITE = text(
    "INSERT INTO dead_letters (run_id, job_no, kind, payload, error_class, error, traceback, attempts, crashes, fingerprint,"
    " status, first_failed_at, created_at) SELECT j.run_id, j.job_no, :kind, j.payload, :error_class, :error, :traceback,"
    " j.attempts + 1, j.crashes, :fingerprint, 'dead',"
    " COALESCE((SELECT MIN(a.started_at) FROM job_attempts a WHERE a.run_id = j.run_id AND a.job_no = j.job_no), NOW(6)), NOW(6)"
    " FROM jobs j WHERE j.run_id = :run_id AND j.job_no = :job_no"
    " ON DUPLICATE KEY UPDATE error_class = VALUES(error_class), error = VALUES(error), traceback = VALUES(traceback),"
    " attempts = VALUES(attempts), crashes = VALUES(crashes), fingerprint = VALUES(fingerprint), status = 'dead',"
    " created_at = VALUES(created_at), resolved_at = NULL, resolved_by = NULL, resolution = NULL"
)


_AGAIN = text(
    "UPDATE dead_letters l JOIN jobs j ON j.run_id = :run_id AND j.job_no = :job_no SET l.status = 'dead',"
    " l.error_class = :error_class, l.error = :error, l.traceback = :traceback, l.fingerprint = :fingerprint,"
    " l.attempts = l.attempts + j.attempts + 1, l.crashes = l.crashes + j.crashes, l.resolved_at = NULL, l.resolved_by = NULL"
    " WHERE l.id = :letter_id"
)


def write(connection: Connection, claim: Claim, outcome: Outcome) -> None:
    """Write the letter of a job that is being given up; a job that does a letter again and dies keeps that letter."""
    error_class, error = outcome.error_class or "unknown", outcome.error or ""
    values = {
        "run_id": claim.run_id,
        "job_no": claim.job_no,
        "kind": claim.kind,
        "error_class": documents.capped(error_class, 191),
        "error": documents.capped(error),
        "traceback": documents.capped(outcome.traceback, documents.MAX_TRACEBACK_CHARS),
        "fingerprint": fingerprint(claim.kind, error_class, error),
    }
    if claim.letter_id is None:
        connection.execute(_WRITE, values)
    else:
        connection.execute(_AGAIN, values | {"letter_id": claim.letter_id})


def settle_replayed(connection: Connection, letter_id: int, ending: str) -> None:
    """A job that did a letter again has ended: done makes the letter ``replayed``, cancelled makes it ``dead`` once more."""
    if ending == "done":
        connection.execute(
            text(
                "UPDATE dead_letters SET status = 'replayed', resolved_at = NOW(6) WHERE id = :id AND status = 'replaying'"
            ),
            {"id": letter_id},
        )
    elif ending == "cancelled":
        connection.execute(
            text("UPDATE dead_letters SET status = 'dead', resolved_by = NULL WHERE id = :id AND status = 'replaying'"),
            {"id": letter_id},
        )
