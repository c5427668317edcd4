"""The recipients, answers and suppressions of the e-mail campaigns."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE email_campaigns (
        name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        plan CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        provider VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        planned_at DATETIME(6) NOT NULL,
        PRIMARY KEY (name)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE email_recipients (
        id BIGINT NOT NULL AUTO_INCREMENT,
        campaign VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        address VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        identity VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        state VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        plan CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        batch INTEGER NOT NULL,
        line BIGINT,
        variables MEDIUMTEXT NOT NULL,
        provider VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        claim CHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
        attempts INTEGER NOT NULL DEFAULT '0',
        due_at DATETIME(6),
        message_id VARCHAR(191) CHARACTER SET ascii COLLATE ascii_bin,
        code SMALLINT,
        enhanced VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin,
        response VARCHAR(500),
        queue_id VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        reason VARCHAR(500),
        planned_at DATETIME(6) NOT NULL,
        sending_at DATETIME(6),
        sent_at DATETIME(6),
        changed_at DATETIME(6) NOT NULL,
        event VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin,
        event_at DATETIME(6),
        PRIMARY KEY (id),
        CONSTRAINT uq_email_recipients_identity UNIQUE (campaign, identity),
        KEY ix_email_recipients_batch (plan, batch),
        KEY ix_email_recipients_message (message_id),
        KEY ix_email_recipients_sending (provider, sending_at),
        KEY ix_email_recipients_state (campaign, state)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE email_suppressions (
        id BIGINT NOT NULL AUTO_INCREMENT,
        address VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        scope VARCHAR(120) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        reason VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        detail VARCHAR(500),
        created_at DATETIME(6) NOT NULL,
        expires_at DATETIME(6),
        PRIMARY KEY (id),
        CONSTRAINT uq_email_suppressions_address UNIQUE (address, scope)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
    """
    CREATE TABLE email_events (
        event_key CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        event VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        address VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        message_id VARCHAR(191) CHARACTER SET ascii COLLATE ascii_bin,
        detail VARCHAR(500),
        happened_at VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        received_at DATETIME(6) NOT NULL,
        PRIMARY KEY (event_key),
        KEY ix_email_events_address (address)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    for table in ("email_events", "email_suppressions", "email_recipients", "email_campaigns"):
        op.execute(f"DROP TABLE {table}")
