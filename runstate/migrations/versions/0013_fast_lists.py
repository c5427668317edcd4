"""Lists of runs in either order by kind and status, letters by run and time, entries by action, memory beside durations."""

from alembic import op

revision = "0013"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE runs DROP KEY ix_runs_kind_requested,"
        " ADD KEY ix_runs_kind_status_requested (kind, status, requested_at),"
        " ADD KEY ix_runs_kind_status_finished (kind, status, finished_at)"
    )
    op.execute(
        "ALTER TABLE dead_letters ADD KEY ix_dead_letters_run (run_id, status, kind, fingerprint),"
        " ADD KEY ix_dead_letters_newest (status, id), ADD KEY ix_dead_letters_created (created_at, status, kind)"
    )
    op.execute("ALTER TABLE audit_log ADD KEY ix_audit_action (action)")
    op.execute(
        "ALTER TABLE job_attempts DROP KEY ix_job_attempts_started,"
        " ADD KEY ix_job_attempts_started (started_at, outcome, duration_ms, peak_memory_kb)"
    )


def downgrade() -> None:
    op.execute(
        "ALTER TABLE job_attempts DROP KEY ix_job_attempts_started,"
        " ADD KEY ix_job_attempts_started (started_at, outcome, duration_ms)"
    )
    op.execute("ALTER TABLE audit_log DROP KEY ix_audit_action")
    op.execute(
        "ALTER TABLE dead_letters DROP KEY ix_dead_letters_created, DROP KEY ix_dead_letters_newest, DROP KEY ix_dead_letters_run"
    )
    op.execute(
        "ALTER TABLE runs DROP KEY ix_runs_kind_status_finished, DROP KEY ix_runs_kind_status_requested,"
        " ADD KEY ix_runs_kind_requested (kind, requested_at)"
    )
