"""The tables, in SQLAlchemy Core. Migrations make them; a test proves that the two agree."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Computed, Index, Integer, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.dialects.mysql import CHAR, DATETIME, MEDIUMTEXT, VARCHAR

metadata = MetaData()

INNODB: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def ascii_id(length: int) -> CHAR:
    """Ids, tokens and hashes: compared byte by byte, one byte a character."""
    return CHAR(length, charset="ascii", collation="ascii_bin")


def ascii_word(length: int) -> VARCHAR:
    """Names that code chooses."""
    return VARCHAR(length, charset="ascii", collation="ascii_bin")


def text_key(length: int) -> VARCHAR:
    """Names and keys that people choose."""
    return VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")


def moment() -> DATETIME:
    """UTC, from the database's clock, in microseconds."""
    return DATETIME(fsp=6)


runs = Table(
    "runs",
    metadata,
    Column("run_id", ascii_id(36), primary_key=True),
    Column("kind", ascii_word(40), nullable=False),
    Column("admission_key", text_key(512)),
    # VARCHAR: MariaDB takes no CHAR into a generated column (its padding depends on the session's sql_mode).
    Column("admission_hash", ascii_word(64)),
    Column(
        "active_key",
        ascii_word(64),
        # The final no: one active run per key even if Redis forgets every lock.
        Computed("IF(status IN ('planning','running','paused','cancelling'), admission_hash, NULL)", persisted=True),
    ),
    Column("idempotency_key", text_key(191)),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("status", ascii_word(12), nullable=False),
    Column("args", MEDIUMTEXT, nullable=False),
    Column("canvas", MEDIUMTEXT),
    Column("jobs_total", BigInteger, nullable=False, server_default="0"),
    Column("jobs_done", BigInteger, nullable=False, server_default="0"),
    Column("jobs_dead", BigInteger, nullable=False, server_default="0"),
    Column("jobs_cancelled", BigInteger, nullable=False, server_default="0"),
    Column("requested_at", moment(), nullable=False),
    Column("requested_by", text_key(191), nullable=False),
    Column("not_before", moment()),
    Column("publish_due_at", moment()),
    Column("publishes", Integer, nullable=False, server_default="0"),
    Column("started_at", moment()),
    Column("heartbeat_at", moment()),
    Column("progress_at", moment()),
    Column("finished_at", moment()),
    Column("refused_by", ascii_id(36)),
    Column("reason", Text),
    Column("parent_run_id", ascii_id(36)),
    # How a replay is to be planned: from letters and left-over jobs of its parent instead of by the kind.
    Column("replay", MEDIUMTEXT),
    Column("result", MEDIUMTEXT),
    # Set when a run ends with open jobs: they are cancelled in batches afterwards.
    Column("leftovers", Integer, nullable=False, server_default="0"),
    # Set when retention begins to forget its rows: from then on it cannot be replayed.
    Column("purged_at", moment()),
    UniqueConstraint("active_key", name="uq_runs_active_key"),
    UniqueConstraint("kind", "idempotency_key", name="uq_runs_idempotency_key"),
    Index("ix_runs_status_publish_due", "status", "publish_due_at"),
    Index("ix_runs_requested", "requested_at"),
    Index("ix_runs_status_requested", "status", "requested_at"),
    Index("ix_runs_kind_status_requested", "kind", "status", "requested_at"),
    Index("ix_runs_kind_status_finished", "kind", "status", "finished_at"),
    Index("ix_runs_admission", "admission_hash", "finished_at"),
    Index("ix_runs_leftovers", "leftovers"),
    Index("ix_runs_parent", "parent_run_id"),
    Index("ix_runs_finished", "finished_at"),
    Index("ix_runs_purged", "purged_at"),
    **INNODB,
)

fences = Table(
    "fences",
    metadata,
    Column("admission_hash", ascii_id(64), primary_key=True),
    Column("fence", BigInteger, nullable=False),
    **INNODB,
)

jobs = Table(
    "jobs",
    metadata,
    Column("run_id", ascii_id(36), primary_key=True),
    Column("job_no", BigInteger, primary_key=True, autoincrement=False),
    Column("role", ascii_word(6), nullable=False),
    Column("state", ascii_word(10), nullable=False),
    Column("payload", MEDIUMTEXT, nullable=False),
    Column("claims", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("lost_nodes", Integer, nullable=False, server_default="0"),
    Column("claim_token", ascii_id(32)),
    Column("claimed_at", moment()),
    Column("lease_until", moment()),
    Column("worker", text_key(191)),
    Column("worker_boot", ascii_id(8)),
    Column("queued_at", moment()),
    Column("publishes", Integer, nullable=False, server_default="0"),
    Column("due_at", moment(), nullable=False),
    Column("result", MEDIUMTEXT),
    Column("last_error", Text),
    # The dead letter that this job does again; it is resolved in the transaction that ends the job.
    Column("letter_id", BigInteger),
    # The one secondary index: every look at jobs starts from a run.
    Index("ix_jobs_run_state_due", "run_id", "state", "due_at"),
    **INNODB,
)

spooled_lists = Table(
    "spooled_lists",
    metadata,
    Column("run_id", ascii_id(36), primary_key=True),
    Column("name", ascii_word(64), primary_key=True),
    Column("part_no", BigInteger, primary_key=True, autoincrement=False),
    Column("items", MEDIUMTEXT, nullable=False),
    **INNODB,
)

alerts = Table(
    "alerts",
    metadata,
    Column("cause", text_key(191), primary_key=True),
    Column("status", ascii_word(10), nullable=False),
    Column("level", ascii_word(4), nullable=False),
    Column("found", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("since", moment(), nullable=False),
    Column("fired_at", moment()),
    Column("seen_at", moment(), nullable=False),
    **INNODB,
)

alert_notices = Table(
    "alert_notices",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("channel", ascii_word(10), nullable=False),
    Column("cause", text_key(191), nullable=False),
    Column("event", ascii_word(10), nullable=False),
    Column("level", ascii_word(4), nullable=False),
    Column("found", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("at", moment(), nullable=False),
    # When it is to be sent (again); NULL: given up.
    Column("due_at", moment()),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("sent_at", moment()),
    Column("error", VARCHAR(500)),
    Index("ix_alert_notices_due", "sent_at", "due_at"),
    Index("ix_alert_notices_at", "at"),
    **INNODB,
)

job_attempts = Table(
    "job_attempts",
    metadata,
    Column("run_id", ascii_id(36), primary_key=True),
    Column("job_no", BigInteger, primary_key=True, autoincrement=False),
    Column("claim_no", Integer, primary_key=True, autoincrement=False),
    Column("worker", text_key(191)),
    Column("started_at", moment()),
    Column("duration_ms", BigInteger),
    Column("peak_memory_kb", BigInteger),
    Column("outcome", ascii_word(12), nullable=False),
    Column("error_class", text_key(191)),
    Column("error", Text),
    # What ended in an hour, without reading a row; a run's newest failures among a million attempts.
    Index("ix_job_attempts_started", "started_at", "outcome", "duration_ms", "peak_memory_kb"),
    Index("ix_job_attempts_run", "run_id", "outcome", "started_at"),
    **INNODB,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("run_id", ascii_id(36), nullable=False),
    Column("job_no", BigInteger, nullable=False),
    Column("kind", ascii_word(40), nullable=False),
    Column("payload", MEDIUMTEXT, nullable=False),
    Column("edited_payload", MEDIUMTEXT),
    Column("error_class", text_key(191), nullable=False),
    Column("error", Text, nullable=False),
    Column("traceback", MEDIUMTEXT),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("fingerprint", ascii_id(16), nullable=False),
    Column("status", ascii_word(10), nullable=False),
    Column("first_failed_at", moment(), nullable=False),
    Column("created_at", moment(), nullable=False),
    Column("resolved_at", moment()),
    Column("resolved_by", text_key(191)),
    Column("resolution", Text),
    Column("replay_run_id", ascii_id(36)),
    UniqueConstraint("run_id", "job_no", name="uq_dead_letters_job"),
    # With the run, so that letters are grouped and counted by trouble and by run without reading one.
    Index("ix_dead_letters_status", "status", "kind", "fingerprint", "run_id"),
    Index("ix_dead_letters_error_class", "error_class", "status", "kind", "fingerprint", "run_id"),
    Index("ix_dead_letters_run", "run_id", "status", "kind", "fingerprint"),
    Index("ix_dead_letters_newest", "status", "id"),
    Index("ix_dead_letters_created", "created_at", "status", "kind"),
    Index("ix_dead_letters_replay", "replay_run_id"),
    Index("ix_dead_letters_resolved", "resolved_at"),
    **INNODB,
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("at", moment(), nullable=False),
    Column("actor", text_key(191), nullable=False),
    Column("action", ascii_word(40), nullable=False),
    Column("subject", text_key(191), nullable=False),
    Column("reason", Text, nullable=False),
    Column("before_state", MEDIUMTEXT),
    Column("after_state", MEDIUMTEXT),
    Index("ix_audit_subject", "subject"),
    Index("ix_audit_at", "at"),
    Index("ix_audit_actor", "actor"),
    Index("ix_audit_action", "action"),
    **INNODB,
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", text_key(191), primary_key=True),
    Column("boot", ascii_id(8), nullable=False),
    Column("role", ascii_word(12), nullable=False),
    Column("queues", text_key(512), nullable=False),
    Column("host", text_key(191), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", moment(), nullable=False),
    Column("heartbeat_at", moment(), nullable=False),
    **INNODB,
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", text_key(100), primary_key=True),
    # Ticks up to here were started or are too old to be: a schedule that is new starts with its next tick.
    Column("settled_until", moment(), nullable=False),
    **INNODB,
)
