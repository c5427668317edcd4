"""Dead letters by error class, and by run without reading a letter: a hundred thousand of them are counted in their index."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE dead_letters DROP KEY ix_dead_letters_status,"
        " ADD KEY ix_dead_letters_status (status, kind, fingerprint, run_id),"
        " ADD KEY ix_dead_letters_error_class (error_class, status, kind, fingerprint, run_id)"
    )


def downgrade() -> None:
    op.execute(
        "ALTER TABLE dead_letters DROP KEY ix_dead_letters_error_class, DROP KEY ix_dead_letters_status,"
        " ADD KEY ix_dead_letters_status (status, kind, fingerprint)"
    )
