"""The indexes that the operators' pages stand on: attempts by time and by run, runs by status, kind and time."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE job_attempts ADD KEY ix_job_attempts_started (started_at, outcome, duration_ms),"
        " ADD KEY ix_job_attempts_run (run_id, outcome, started_at)"
    )
    op.execute(
        "ALTER TABLE runs ADD KEY ix_runs_status_requested (status, requested_at),"
        " ADD KEY ix_runs_kind_requested (kind, requested_at)"
    )
    op.execute("ALTER TABLE audit_log ADD KEY ix_audit_actor (actor)")


def downgrade() -> None:
    op.execute("ALTER TABLE audit_log DROP KEY ix_audit_actor")
    op.execute("ALTER TABLE runs DROP KEY ix_runs_kind_requested, DROP KEY ix_runs_status_requested")
    op.execute("ALTER TABLE job_attempts DROP KEY ix_job_attempts_run, DROP KEY ix_job_attempts_started")
