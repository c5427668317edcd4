"""The rejects of the CSV imports."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

IMPORT_REJECTS = """
    CREATE TABLE import_rejects (
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        job_no BIGINT NOT NULL,
        line_no BIGINT NOT NULL,
        byte_offset BIGINT NOT NULL,
        column_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
        code VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        reason VARCHAR(1000) NOT NULL,
        raw MEDIUMBLOB NOT NULL,
        raw_bytes BIGINT NOT NULL,
        created_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
        PRIMARY KEY (run_id, job_no, line_no)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""


def upgrade() -> None:
    op.execute(IMPORT_REJECTS)


def downgrade() -> None:
    op.execute("DROP TABLE import_rejects")
