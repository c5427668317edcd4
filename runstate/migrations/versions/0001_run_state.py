"""The tables of section "Tables" in docs/lifecycle.md: runs, fences, jobs, attempts, dead letters, audit, nodes."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE schedules (
        name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        settled_until DATETIME(6) NOT NULL,
        PRIMARY KEY (name)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE audit_log (
        id BIGINT NOT NULL AUTO_INCREMENT,
        at DATETIME(6) NOT NULL,
        actor VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        action VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        subject VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        reason TEXT NOT NULL,
        before_state MEDIUMTEXT,
        after_state MEDIUMTEXT,
        KEY ix_audit_at (at),
        KEY ix_audit_subject (subject),
        PRIMARY KEY (id)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE dead_letters (
        id BIGINT NOT NULL AUTO_INCREMENT,
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        job_no BIGINT NOT NULL,
        kind VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        payload MEDIUMTEXT NOT NULL,
        edited_payload MEDIUMTEXT,
        error_class VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        error TEXT NOT NULL,
        traceback MEDIUMTEXT,
        attempts INTEGER NOT NULL,
        crashes INTEGER NOT NULL DEFAULT '0',
        fingerprint CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        first_failed_at DATETIME(6) NOT NULL,
        created_at DATETIME(6) NOT NULL,
        resolved_at DATETIME(6),
        resolved_by VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        resolution TEXT,
        replay_run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        KEY ix_dead_letters_replay (replay_run_id),
        KEY ix_dead_letters_status (status, kind, fingerprint),
        PRIMARY KEY (id),
        CONSTRAINT uq_dead_letters_job UNIQUE (run_id, job_no)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE fences (
        admission_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        fence BIGINT NOT NULL,
        PRIMARY KEY (admission_hash)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE job_attempts (
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        job_no BIGINT NOT NULL,
        claim_no INTEGER NOT NULL,
        worker VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        started_at DATETIME(6),
        duration_ms BIGINT,
        peak_memory_kb BIGINT,
        outcome VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        error_class VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        error TEXT,
        PRIMARY KEY (run_id, job_no, claim_no)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE jobs (
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        job_no BIGINT NOT NULL,
        `role` VARCHAR(6) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        state VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        payload MEDIUMTEXT NOT NULL,
        claims INTEGER NOT NULL DEFAULT '0',
        attempts INTEGER NOT NULL DEFAULT '0',
        crashes INTEGER NOT NULL DEFAULT '0',
        lost_nodes INTEGER NOT NULL DEFAULT '0',
        claim_token CHAR(32) CHARACTER SET ascii COLLATE ascii_bin,
        claimed_at DATETIME(6),
        lease_until DATETIME(6),
        worker VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        worker_boot CHAR(8) CHARACTER SET ascii COLLATE ascii_bin,
        queued_at DATETIME(6),
        publishes INTEGER NOT NULL DEFAULT '0',
        due_at DATETIME(6) NOT NULL,
        result MEDIUMTEXT,
        last_error TEXT,
        letter_id BIGINT,
        KEY ix_jobs_run_state_due (run_id, state, due_at),
        PRIMARY KEY (run_id, job_no)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE nodes (
        name VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        boot CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        `role` VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        queues VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        host VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        pid BIGINT NOT NULL,
        started_at DATETIME(6) NOT NULL,
        heartbeat_at DATETIME(6) NOT NULL,
        PRIMARY KEY (name)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE runs (
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        kind VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        admission_key VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        admission_hash VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
        active_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin GENERATED ALWAYS AS (
            IF(status IN ('planning','running','paused','cancelling'), admission_hash, NULL)) STORED,
        idempotency_key VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        fence BIGINT NOT NULL DEFAULT '0',
        status VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        args MEDIUMTEXT NOT NULL,
        canvas MEDIUMTEXT,
        jobs_total BIGINT NOT NULL DEFAULT '0',
        jobs_done BIGINT NOT NULL DEFAULT '0',
        jobs_dead BIGINT NOT NULL DEFAULT '0',
        jobs_cancelled BIGINT NOT NULL DEFAULT '0',
        requested_at DATETIME(6) NOT NULL,
        requested_by VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        not_before DATETIME(6),
        publish_due_at DATETIME(6),
        publishes INTEGER NOT NULL DEFAULT '0',
        started_at DATETIME(6),
        heartbeat_at DATETIME(6),
        progress_at DATETIME(6),
        finished_at DATETIME(6),
        refused_by CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        reason TEXT,
        parent_run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
        replay MEDIUMTEXT,
        result MEDIUMTEXT,
        leftovers INTEGER NOT NULL DEFAULT '0',
        KEY ix_runs_admission (admission_hash, finished_at),
        KEY ix_runs_leftovers (leftovers),
        KEY ix_runs_parent (parent_run_id),
        KEY ix_runs_requested (requested_at),
        KEY ix_runs_status_publish_due (status, publish_due_at),
        PRIMARY KEY (run_id),
        CONSTRAINT uq_runs_active_key UNIQUE (active_key),
        CONSTRAINT uq_runs_idempotency_key UNIQUE (kind, idempotency_key)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("run state is not thrown away by a migration; restore a backup instead")
