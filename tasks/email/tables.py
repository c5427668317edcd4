"""The tables of the e-mail campaigns, in SQLAlchemy Core; migration 0005 makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, UniqueConstraint, text
from sqlalchemy.dialects.mysql import MEDIUMTEXT, SMALLINT, VARCHAR

from runstate.models import INNODB, ascii_id, ascii_word, metadata, moment, text_key

MAX_CAMPAIGN_CHARS = 100
MAX_ADDRESS_CHARS = 320
MAX_RESPONSE_CHARS = 500

email_campaigns = Table(
    "email_campaigns",
    metadata,
    Column("name", text_key(MAX_CAMPAIGN_CHARS), primary_key=True),
    # Which planning the ledger belongs to: a planner that lost its place writes no more once this is another's.
    Column("plan", ascii_id(16), nullable=False),
    Column("run_id", ascii_id(36), nullable=False),
    Column("provider", ascii_word(40), nullable=False),
    Column("created_at", moment(), nullable=False, server_default=text("CURRENT_TIMESTAMP(6)")),
    Column("planned_at", moment(), nullable=False),
    **INNODB,
)

email_recipients = Table(
    "email_recipients",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    Column("campaign", text_key(MAX_CAMPAIGN_CHARS), nullable=False),
    # What the server is told.
    Column("address", text_key(MAX_ADDRESS_CHARS), nullable=False),
    # By which two addresses count as one: folded case. Suppressions are looked up by it.
    Column("identity", text_key(MAX_ADDRESS_CHARS), nullable=False),
    Column("state", ascii_word(10), nullable=False),
    # The planning and the job of it that this recipient is sent by.
    Column("plan", ascii_id(16), nullable=False),
    Column("batch", Integer, nullable=False),
    Column("line", BigInteger),
    Column("variables", MEDIUMTEXT, nullable=False),
    Column("provider", ascii_word(40), nullable=False),
    # The claim that last took it: only that one may say how its sending ended.
    Column("claim", ascii_id(16)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", moment()),
    Column("message_id", ascii_word(191)),
    Column("code", SMALLINT),
    Column("enhanced", ascii_word(12)),
    Column("response", VARCHAR(MAX_RESPONSE_CHARS)),
    Column("queue_id", text_key(191)),
    # Why it was suppressed, failed or left in doubt, in our own words.
    Column("reason", VARCHAR(MAX_RESPONSE_CHARS)),
    Column("planned_at", moment(), nullable=False),
    Column("sending_at", moment()),
    Column("sent_at", moment()),
    Column("changed_at", moment(), nullable=False),
    # What the provider reported afterwards: `bounce`, `complaint` …
    Column("event", ascii_word(12)),
    Column("event_at", moment()),
    UniqueConstraint("campaign", "identity", name="uq_email_recipients_identity"),
    Index("ix_email_recipients_batch", "plan", "batch"),
    Index("ix_email_recipients_state", "campaign", "state"),
    # The daily quotas are read from here after Redis was emptied.
    Index("ix_email_recipients_sending", "provider", "sending_at"),
    Index("ix_email_recipients_message", "message_id"),
    **INNODB,
)

email_suppressions = Table(
    "email_suppressions",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True),
    # Folded, as `email_recipients.identity`.
    Column("address", text_key(MAX_ADDRESS_CHARS), nullable=False),
    # `global`, `provider:NAME`, `list:NAME` or `campaign:NAME`.
    Column("scope", text_key(120), nullable=False),
    Column("reason", ascii_word(20), nullable=False),
    Column("detail", VARCHAR(MAX_RESPONSE_CHARS)),
    Column("created_at", moment(), nullable=False),
    Column("expires_at", moment()),
    UniqueConstraint("address", "scope", name="uq_email_suppressions_address"),
    **INNODB,
)

email_events = Table(
    "email_events",
    metadata,
    # The hash of what makes the event one: a webhook that is delivered twice is one event.
    Column("event_key", ascii_id(64), primary_key=True),
    Column("event", ascii_word(12), nullable=False),
    Column("address", text_key(MAX_ADDRESS_CHARS), nullable=False),
    Column("message_id", ascii_word(191)),
    Column("detail", VARCHAR(MAX_RESPONSE_CHARS)),
    Column("happened_at", text_key(40)),
    Column("received_at", moment(), nullable=False),
    Index("ix_email_events_address", "address"),
    **INNODB,
)
