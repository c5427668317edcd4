"""The tables of the API sync; each module beside this one that is named after a table holds its SQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.mysql import MEDIUMTEXT, TINYINT

from runstate.models import INNODB, ascii_id, ascii_word, metadata, moment, text_key

_NOW = text("CURRENT_TIMESTAMP(6)")


def _pair(*, key: bool = False) -> tuple[Column[str], Column[str]]:
    """Which connection and which kind of record: every table starts with them."""
    return (
        Column("connection", ascii_word(40), primary_key=key, nullable=False),
        Column("kind", ascii_word(40), primary_key=key, nullable=False),
    )


sync_links = Table(
    "sync_links",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    *_pair(),
    # NULL: there is no such row or record (yet, or any more).
    Column("local_id", text_key(191)),
    Column("remote_id", text_key(191)),
    Column("remote_version", text_key(191)),
    # The last common state as the API has it; base_local holds those fields that the table has to keep otherwise.
    Column("base", MEDIUMTEXT, nullable=False),
    Column("base_local", MEDIUMTEXT),
    Column("local_hash", ascii_id(32), nullable=False),
    Column("remote_hash", ascii_id(32), nullable=False),
    # Rises with each change of the row: whoever decided on an older state must decide again.
    Column("seq", BigInteger, nullable=False, server_default="0"),
    Column("read_at", moment(), nullable=False),
    # The record is gone; the row goes once the guard has seen how many go.
    Column("gone_at", moment()),
    Column("seen_run", ascii_id(36)),
    Column("created_at", moment(), nullable=False, server_default=_NOW),
    UniqueConstraint("connection", "kind", "local_id", name="uq_sync_links_local"),
    UniqueConstraint("connection", "kind", "remote_id", name="uq_sync_links_remote"),
    Index("ix_sync_links_gone", "connection", "kind", "gone_at"),
    **INNODB,
)

sync_cursors = Table(
    "sync_cursors",
    metadata,
    *_pair(key=True),
    Column("position", Text),
    Column("run_id", ascii_id(36), nullable=False),
    Column("moved_at", moment(), nullable=False, server_default=_NOW),
    Column("full_at", moment()),
    **INNODB,
)

sync_outbox = Table(
    "sync_outbox",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    *_pair(),
    # "l:" and a local id, or "r:" and a remote one.
    Column("entity", text_key(193), nullable=False),
    Column("state", ascii_word(10), nullable=False, server_default="pending"),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    # What is being written and under which idempotency key: stored before the call, gone once its answer is recorded.
    Column("intent", MEDIUMTEXT),
    Column("changed_at", moment(), nullable=False, server_default=_NOW),
    UniqueConstraint("connection", "kind", "entity", name="uq_sync_outbox_entity"),
    Index("ix_sync_outbox_state", "connection", "kind", "state", "id"),
    **INNODB,
)

sync_ledger = Table(
    "sync_ledger",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    *_pair(),
    Column("remote_id", text_key(191), nullable=False),
    Column("value_hash", ascii_id(32), nullable=False),
    Column("version", text_key(191)),
    Column("written_at", moment(), nullable=False, server_default=_NOW),
    Index("ix_sync_ledger_remote", "connection", "kind", "remote_id"),
    **INNODB,
)

sync_conflicts = Table(
    "sync_conflicts",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    *_pair(),
    Column("link_id", BigInteger, nullable=False),
    Column("field", text_key(64), nullable=False),
    Column("base", MEDIUMTEXT),
    Column("local", MEDIUMTEXT),
    Column("remote", MEDIUMTEXT),
    # 1 while open, NULL after: one open conflict a field, any number of old ones.
    Column("open", TINYINT),
    Column("run_id", ascii_id(36)),
    Column("created_at", moment(), nullable=False, server_default=_NOW),
    Column("resolved_at", moment()),
    Column("resolved_by", text_key(191)),
    Column("resolution", MEDIUMTEXT),
    UniqueConstraint("link_id", "field", "open", name="uq_sync_conflicts_open"),
    Index("ix_sync_conflicts_open", "connection", "kind", "open"),
    **INNODB,
)

sync_audit = Table(
    "sync_audit",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    *_pair(),
    Column("at", moment(), nullable=False, server_default=_NOW),
    Column("run_id", ascii_id(36)),
    Column("local_id", text_key(191)),
    Column("remote_id", text_key(191)),
    Column("side", ascii_word(6), nullable=False),
    Column("action", ascii_word(10), nullable=False),
    Column("before_state", MEDIUMTEXT),
    Column("after_state", MEDIUMTEXT),
    Index("ix_sync_audit_local", "connection", "kind", "local_id"),
    Index("ix_sync_audit_at", "at"),
    **INNODB,
)

sync_rejects = Table(
    "sync_rejects",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    *_pair(),
    Column("entity", text_key(193), nullable=False),
    Column("direction", ascii_word(4), nullable=False),
    Column("code", ascii_word(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("record", MEDIUMTEXT),
    Column("run_id", ascii_id(36), nullable=False),
    Column("created_at", moment(), nullable=False, server_default=_NOW),
    UniqueConstraint("connection", "kind", "entity", "direction", name="uq_sync_rejects_entity"),
    **INNODB,
)

sync_plan_entries = Table(
    "sync_plan_entries",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    # The run that made the plan.
    Column("plan_id", ascii_id(36), nullable=False),
    Column("entity", text_key(193), nullable=False),
    Column("local_id", text_key(191)),
    Column("remote_id", text_key(191)),
    # What was seen: an entry is applied only while all of it still holds.
    Column("link_seq", BigInteger),
    Column("local_hash", ascii_id(32)),
    Column("remote_hash", ascii_id(32)),
    Column("remote_version", text_key(191)),
    # What would be written, field by field: {"action": …, "fields": {name: [before, after]}}, NULL: nothing on that side.
    Column("local_change", MEDIUMTEXT),
    Column("remote_change", MEDIUMTEXT),
    Column("conflicts", MEDIUMTEXT),
    Column("status", ascii_word(10), nullable=False, server_default="planned"),
    Column("reason", Text),
    UniqueConstraint("plan_id", "entity", name="uq_sync_plan_entries_entity"),
    Index("ix_sync_plan_entries_status", "plan_id", "status", "id"),
    **INNODB,
)

sync_deliveries = Table(
    "sync_deliveries",
    metadata,
    Column("connection", ascii_word(40), primary_key=True),
    Column("delivery_hash", ascii_id(64), primary_key=True),
    Column("run_id", ascii_id(36), nullable=False),
    Column("received_at", moment(), nullable=False, server_default=_NOW),
    Index("ix_sync_deliveries_at", "received_at"),
    **INNODB,
)
