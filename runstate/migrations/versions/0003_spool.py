"""Lists of a start's arguments that are too long for its row."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SPOOLED_LISTS = """
    CREATE TABLE spooled_lists (
        run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        part_no BIGINT NOT NULL,
        items MEDIUMTEXT NOT NULL,
        PRIMARY KEY (run_id, name, part_no)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""


def upgrade() -> None:
    op.execute(SPOOLED_LISTS)


def downgrade() -> None:
    op.execute("DROP TABLE spooled_lists")
