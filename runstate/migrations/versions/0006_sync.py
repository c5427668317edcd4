"""The links, cursors, outbox, ledger, conflicts, rejects, plans, deliveries and audit of the API sync."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WORD = "CHARACTER SET ascii COLLATE ascii_bin"
KEY = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
NOW = "DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"
PAIR = f"connection VARCHAR(40) {WORD} NOT NULL, kind VARCHAR(40) {WORD} NOT NULL"
END = ") ENGINE=InnoDB CHARSET=utf8mb4 COLLATE utf8mb4_bin"

TABLES = (
    f"""
    CREATE TABLE sync_links (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {PAIR},
        local_id VARCHAR(191) {KEY}, remote_id VARCHAR(191) {KEY}, remote_version VARCHAR(191) {KEY},
        base MEDIUMTEXT NOT NULL, base_local MEDIUMTEXT,
        local_hash CHAR(32) {WORD} NOT NULL, remote_hash CHAR(32) {WORD} NOT NULL,
        seq BIGINT NOT NULL DEFAULT 0, read_at DATETIME(6) NOT NULL, gone_at DATETIME(6),
        seen_run CHAR(36) {WORD}, created_at {NOW},
        UNIQUE KEY uq_sync_links_local (connection, kind, local_id),
        UNIQUE KEY uq_sync_links_remote (connection, kind, remote_id),
        KEY ix_sync_links_gone (connection, kind, gone_at)
    {END}""",
    f"""
    CREATE TABLE sync_cursors (
        {PAIR}, position TEXT, run_id CHAR(36) {WORD} NOT NULL, moved_at {NOW}, full_at DATETIME(6),
        PRIMARY KEY (connection, kind)
    {END}""",
    f"""
    CREATE TABLE sync_outbox (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {PAIR},
        entity VARCHAR(193) {KEY} NOT NULL, state VARCHAR(10) {WORD} NOT NULL DEFAULT 'pending',
        seq BIGINT NOT NULL DEFAULT 0, intent MEDIUMTEXT, changed_at {NOW},
        UNIQUE KEY uq_sync_outbox_entity (connection, kind, entity),
        KEY ix_sync_outbox_state (connection, kind, state, id)
    {END}""",
    f"""
    CREATE TABLE sync_ledger (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {PAIR},
        remote_id VARCHAR(191) {KEY} NOT NULL, value_hash CHAR(32) {WORD} NOT NULL, version VARCHAR(191) {KEY},
        written_at {NOW},
        KEY ix_sync_ledger_remote (connection, kind, remote_id)
    {END}""",
    f"""
    CREATE TABLE sync_conflicts (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {PAIR},
        link_id BIGINT NOT NULL, field VARCHAR(64) {KEY} NOT NULL,
        base MEDIUMTEXT, local MEDIUMTEXT, remote MEDIUMTEXT, open TINYINT, run_id CHAR(36) {WORD},
        created_at {NOW}, resolved_at DATETIME(6), resolved_by VARCHAR(191) {KEY}, resolution MEDIUMTEXT,
        UNIQUE KEY uq_sync_conflicts_open (link_id, field, open),
        KEY ix_sync_conflicts_open (connection, kind, open)
    {END}""",
    f"""
    CREATE TABLE sync_audit (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {PAIR},
        at {NOW}, run_id CHAR(36) {WORD}, local_id VARCHAR(191) {KEY}, remote_id VARCHAR(191) {KEY},
        side VARCHAR(6) {WORD} NOT NULL, action VARCHAR(10) {WORD} NOT NULL,
        before_state MEDIUMTEXT, after_state MEDIUMTEXT,
        KEY ix_sync_audit_local (connection, kind, local_id),
        KEY ix_sync_audit_at (at)
    {END}""",
    f"""
    CREATE TABLE sync_rejects (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {PAIR},
        entity VARCHAR(193) {KEY} NOT NULL, direction VARCHAR(4) {WORD} NOT NULL, code VARCHAR(40) {WORD} NOT NULL,
        reason TEXT NOT NULL, record MEDIUMTEXT, run_id CHAR(36) {WORD} NOT NULL, created_at {NOW},
        UNIQUE KEY uq_sync_rejects_entity (connection, kind, entity, direction)
    {END}""",
    f"""
    CREATE TABLE sync_plan_entries (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, plan_id CHAR(36) {WORD} NOT NULL,
        entity VARCHAR(193) {KEY} NOT NULL, local_id VARCHAR(191) {KEY}, remote_id VARCHAR(191) {KEY},
        link_seq BIGINT, local_hash CHAR(32) {WORD}, remote_hash CHAR(32) {WORD}, remote_version VARCHAR(191) {KEY},
        local_change MEDIUMTEXT, remote_change MEDIUMTEXT, conflicts MEDIUMTEXT,
        status VARCHAR(10) {WORD} NOT NULL DEFAULT 'planned', reason TEXT,
        UNIQUE KEY uq_sync_plan_entries_entity (plan_id, entity),
        KEY ix_sync_plan_entries_status (plan_id, status, id)
    {END}""",
    f"""
    CREATE TABLE sync_deliveries (
        connection VARCHAR(40) {WORD} NOT NULL, delivery_hash CHAR(64) {WORD} NOT NULL,
        run_id CHAR(36) {WORD} NOT NULL, received_at {NOW},
        PRIMARY KEY (connection, delivery_hash),
        KEY ix_sync_deliveries_at (received_at)
    {END}""",
)
NAMES = (
    "sync_links",
    "sync_cursors",
    "sync_outbox",
    "sync_ledger",
    "sync_conflicts",
    "sync_audit",
    "sync_rejects",
    "sync_plan_entries",
    "sync_deliveries",
)


def upgrade() -> None:
    for table in TABLES:
        op.execute(table)


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP TABLE {name}")
