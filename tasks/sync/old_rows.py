"""What retention forgets of the sync.  Links, cursors, the outbox, open conflicts and open rejects are never forgotten."""

from __future__ import annotations

from runstate.old_rows import Aged, OfRuns
from tasks.sync.ledger import KEEP_DAYS

DELIVERIES_DAYS = 30
"""Kept at least so long, whatever the policy says: longer than any provider sends a delivery again."""

OLD_ROWS = (
    OfRuns("sync_plan_entries", "plan_id"),
    Aged("sync_audit", "at < NOW(6) - INTERVAL :audit_days DAY"),
    Aged(
        "sync_deliveries",
        f"received_at < NOW(6) - INTERVAL GREATEST(:runs_days, {DELIVERIES_DAYS}) DAY",
        key=("connection", "delivery_hash"),
    ),
    # As a dead letter that somebody has decided about.
    Aged("sync_conflicts", "open IS NULL AND resolved_at < NOW(6) - INTERVAL :letters_days DAY"),
    # A piece of a page that is no record is noted anew by each listing that has it; nothing else tells that it is gone.
    Aged("sync_rejects", "code = 'no_record' AND created_at < NOW(6) - INTERVAL :runs_days DAY"),
    # Each run forgets those of its own kind of record; these are of connections that are not declared any more.
    Aged("sync_ledger", f"written_at < NOW(6) - INTERVAL {KEEP_DAYS} DAY"),
)
