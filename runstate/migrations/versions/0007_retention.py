"""When a run's rows began to be forgotten; the index by which old runs are found."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE runs ADD COLUMN purged_at DATETIME(6), ADD KEY ix_runs_finished (finished_at),"
        " ADD KEY ix_runs_purged (purged_at)"
    )
    op.execute("ALTER TABLE dead_letters ADD KEY ix_dead_letters_resolved (resolved_at)")


def downgrade() -> None:
    op.execute("ALTER TABLE dead_letters DROP KEY ix_dead_letters_resolved")
    op.execute("ALTER TABLE runs DROP KEY ix_runs_finished, DROP KEY ix_runs_purged, DROP COLUMN purged_at")
