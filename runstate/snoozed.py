"""Jobs that wait for something an operator has just mended: due at once instead of when they would have looked again."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text


def wake(connection: Connection, kinds: Sequence[str], key: str, reason: str | None = None) -> int:
    """Make the pending jobs of these kinds due now whose last error names the limit's key or is its pause's reason; how many.

    What waits for another reason (a backoff, a Retry-After) names something else, and goes on waiting.
    """
    if not kinds:
        return 0
    return connection.execute(
        text(
            "UPDATE jobs j JOIN runs r ON r.run_id = j.run_id SET j.due_at = NOW(6)"
            " WHERE r.status IN ('planning', 'running', 'paused') AND r.kind IN :kinds AND j.state = 'pending'"
            " AND j.due_at > NOW(6) AND (LOCATE(:key, j.last_error) > 0 OR j.last_error = :reason)"
        ).bindparams(bindparam("kinds", expanding=True)),
        {"kinds": list(kinds), "key": key, "reason": reason},
    ).rowcount
