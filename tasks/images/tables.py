"""The kind's tables: which file of which destination is which variant of which content.

A row of ``image_variants`` is written after its file is complete, in the record of the job that made it, so it never points to
half a file.  What a source should have is not listed source by source: sources point to a set of specs, and most of a
destination's sources share one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from runstate.models import INNODB, ascii_id, ascii_word, metadata, moment, text_key

image_dests = Table(
    "image_dests",
    metadata,
    Column("dest_hash", ascii_id(64), primary_key=True),
    Column("path", text_key(512), nullable=False),
    **INNODB,
)

image_assets = Table(
    "image_assets",
    metadata,
    Column("content_hash", ascii_id(64), primary_key=True),
    Column("format", ascii_word(16), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", moment(), nullable=False),
    **INNODB,
)

image_sets = Table(
    "image_sets",
    metadata,
    Column("set_hash", ascii_id(64), primary_key=True),
    # {"name": {"format": "spec hash", …}, …}
    Column("variants", MEDIUMTEXT, nullable=False),
    **INNODB,
)

image_sources = Table(
    "image_sources",
    metadata,
    Column("dest_hash", ascii_id(64), primary_key=True),
    Column("source_hash", ascii_id(64), primary_key=True),
    Column("source", text_key(4096), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    # By the clock of the host that read it, as the modification time is.
    Column("read_ns", BigInteger, nullable=False),
    Column("content_hash", ascii_id(64), nullable=False),
    Column("set_hash", ascii_id(64), nullable=False),
    Column("updated_at", moment(), nullable=False),
    Index("ix_image_sources_content", "dest_hash", "content_hash"),
    **INNODB,
)

image_variants = Table(
    "image_variants",
    metadata,
    Column("dest_hash", ascii_id(64), primary_key=True),
    Column("content_hash", ascii_id(64), primary_key=True),
    Column("spec_hash", ascii_id(64), primary_key=True),
    Column("format", ascii_word(8), nullable=False),
    Column("path", ascii_word(191), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", ascii_id(64), nullable=False),
    # "#rrggbb", the dominant one.
    Column("colour", ascii_id(7), nullable=False),
    Column("created_at", moment(), nullable=False),
    **INNODB,
)
