"""Alerts and the notices that they give rise to."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ALERTS = """
    CREATE TABLE alerts (
        cause VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        status VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        level VARCHAR(4) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        found TEXT NOT NULL,
        advice TEXT NOT NULL,
        since DATETIME(6) NOT NULL,
        fired_at DATETIME(6),
        seen_at DATETIME(6) NOT NULL,
        PRIMARY KEY (cause)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""
NOTICES = """
    CREATE TABLE alert_notices (
        id BIGINT NOT NULL AUTO_INCREMENT,
        channel VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        cause VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        event VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        level VARCHAR(4) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        found TEXT NOT NULL,
        advice TEXT NOT NULL,
        at DATETIME(6) NOT NULL,
        due_at DATETIME(6),
        tries INTEGER NOT NULL DEFAULT '0',
        sent_at DATETIME(6),
        error VARCHAR(500),
        KEY ix_alert_notices_due (sent_at, due_at),
        KEY ix_alert_notices_at (at),
        PRIMARY KEY (id)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""


def upgrade() -> None:
    op.execute(ALERTS)
    op.execute(NOTICES)


def downgrade() -> None:
    op.execute("DROP TABLE alert_notices")
    op.execute("DROP TABLE alerts")
