"""The assets and variants of the image batches."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

HASH = "CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
IMAGE_DESTS = f"""
    CREATE TABLE image_dests (
        dest_hash {HASH},
        path VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        PRIMARY KEY (dest_hash)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""
IMAGE_ASSETS = f"""
    CREATE TABLE image_assets (
        content_hash {HASH},
        format VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        frames INTEGER NOT NULL,
        bytes BIGINT NOT NULL,
        created_at DATETIME(6) NOT NULL,
        PRIMARY KEY (content_hash)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""
IMAGE_SETS = f"""
    CREATE TABLE image_sets (
        set_hash {HASH},
        variants MEDIUMTEXT NOT NULL,
        PRIMARY KEY (set_hash)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""
IMAGE_SOURCES = f"""
    CREATE TABLE image_sources (
        dest_hash {HASH},
        source_hash {HASH},
        source VARCHAR(4096) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
        size BIGINT NOT NULL,
        mtime_ns BIGINT NOT NULL,
        read_ns BIGINT NOT NULL,
        content_hash {HASH},
        set_hash {HASH},
        updated_at DATETIME(6) NOT NULL,
        PRIMARY KEY (dest_hash, source_hash),
        KEY ix_image_sources_content (dest_hash, content_hash)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""
IMAGE_VARIANTS = f"""
    CREATE TABLE image_variants (
        dest_hash {HASH},
        content_hash {HASH},
        spec_hash {HASH},
        format VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        path VARCHAR(191) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        bytes BIGINT NOT NULL,
        sha256 {HASH},
        colour CHAR(7) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        created_at DATETIME(6) NOT NULL,
        PRIMARY KEY (dest_hash, content_hash, spec_hash)
    )ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin
"""
TABLES = ("image_dests", "image_assets", "image_sets", "image_sources", "image_variants")


def upgrade() -> None:
    for statement in (IMAGE_DESTS, IMAGE_ASSETS, IMAGE_SETS, IMAGE_SOURCES, IMAGE_VARIANTS):
        op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
