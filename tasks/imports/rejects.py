"""Rejects: the rows that did not make it, each with its place, its reason and its own bytes, to be corrected and replayed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Row, Table, bindparam, func, select, text
from sqlalchemy.dialects.mysql import MEDIUMBLOB, VARCHAR

from runstate.models import INNODB, ascii_id, ascii_word, metadata, moment, text_key
from tasks.imports.errors import Problem
from tasks.imports.matching import REJECT_COLUMNS
from tasks.imports.records import MAX_RECORD_BYTES, count_lines, spans

MAX_REASON_CHARS = 1000
MAX_RAW_BYTES = MAX_RECORD_BYTES
_BATCH_BYTES = 512 * 1024

import_rejects = Table(
    "import_rejects",
    metadata,
    # By run, job and line: a job's rejects lie together, a run's are read in the order of its file.
    Column("run_id", ascii_id(36), primary_key=True),
    Column("job_no", BigInteger, primary_key=True, autoincrement=False),
    Column("line_no", BigInteger, primary_key=True, autoincrement=False),
    Column("byte_offset", BigInteger, nullable=False),
    Column("column_name", text_key(64)),
    Column("code", ascii_word(40), nullable=False),
    Column("reason", VARCHAR(MAX_REASON_CHARS), nullable=False),
    Column("raw", MEDIUMBLOB, nullable=False),
    # The record's full length: more than `raw` holds where it was cut.
    Column("raw_bytes", BigInteger, nullable=False),
    Column("created_at", moment(), nullable=False, server_default=text("CURRENT_TIMESTAMP(6)")),
    **INNODB,
)


class Reject(NamedTuple):
    """One rejected row: its line and byte offset in the file, why, and its bytes without the line end."""

    line: int
    byte_offset: int
    problem: Problem
    raw: bytes


def locate(
    data: bytes, problems: Mapping[int, Problem], *, start: int, first_line: int, delimiter: str
) -> list[Reject]:
    """The rejects for ``problems`` (by the number of their record) of a chunk that begins at ``start`` and ``first_line``."""
    if not problems:
        return []
    rejects: list[Reject] = []
    line, counted, number, last = first_line, 0, 0, max(problems)
    for span in spans(data, delimiter):
        if span.blank:
            continue
        if number in problems:
            line, counted = line + count_lines(data[counted : span.start]), span.start
            raw = data[span.start : span.end].rstrip(b"\r\n")
            rejects.append(Reject(line, start + span.start, problems[number], raw))
        if number == last:
            break
        number += 1
    return rejects


def store_rejects(connection: Connection, run_id: str, job_no: int, rejects: Sequence[Reject]) -> None:
    """Insert the rejects of one job, in bounded statements."""
    for part in _parts(rejects):
        connection.execute(
            import_rejects.insert(),
            [
                {
                    "run_id": run_id,
                    "job_no": job_no,
                    "line_no": reject.line,
                    "byte_offset": reject.byte_offset,
                    "column_name": reject.problem.column,
                    "code": reject.problem.code,
                    "reason": reject.problem.reason[:MAX_REASON_CHARS],
                    "raw": reject.raw[:MAX_RAW_BYTES],
                    "raw_bytes": len(reject.raw),
                }
                for reject in part
            ],
        )


def forget_rejects(connection: Connection, run_ids: Sequence[str], most: int) -> int:
    """Delete up to ``most`` rejects of these runs; how many there were."""
    return connection.execute(
        text("DELETE FROM import_rejects WHERE run_id IN :run_ids LIMIT :most").bindparams(
            bindparam("run_ids", expanding=True)
        ),
        {"run_ids": list(run_ids), "most": most},
    ).rowcount


def count_rejects(connection: Connection, run_id: str, *, at_most: int) -> int:
    """How many rejects the run has, as this transaction sees it; counting stops at ``at_most``."""
    some = select(import_rejects.c.line_no).where(import_rejects.c.run_id == run_id).limit(at_most).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def find_rejects(connection: Connection, run_id: str) -> Iterator[Row[Any]]:
    """A run's rejects in the order of its file."""
    table = import_rejects.c
    query = select(import_rejects).where(table.run_id == run_id).order_by(table.job_no, table.line_no)
    yield from connection.execution_options(stream_results=True).execute(query)


def export_rejects(
    connection: Connection,
    run_id: str,
    out: BinaryIO,
    *,
    header: Sequence[str],
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> tuple[int, int]:
    """Write a run's rejects as a CSV file that can be imported again once it is corrected; how many rows, and how many cut.

    The columns of `REJECT_COLUMNS` come first, then the row's own bytes as they were; an import leaves those four out.
    ``header``, ``delimiter`` and ``encoding`` are those of the original file.  A row that was too long to be kept whole
    cannot be imported again: it is counted in the second number and left out.
    """
    out.write(_line([*REJECT_COLUMNS, *header], delimiter, encoding) + b"\n")
    exported = cut = 0
    for row in find_rejects(connection, run_id):
        if len(row.raw) < row.raw_bytes:
            cut += 1
            continue
        out.write(_line([str(row.line_no), row.column_name or "", row.code, row.reason], delimiter, encoding))
        out.write(delimiter.encode() + row.raw + b"\n")
        exported += 1
    return exported, cut


def _line(fields: Sequence[str], delimiter: str, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="").writerow(fields)
    return text.getvalue().encode(encoding, errors="backslashreplace")


def _parts(rejects: Sequence[Reject]) -> Iterator[Sequence[Reject]]:
    """Slices whose raw bytes fit a statement."""
    start, size = 0, 0
    for place, reject in enumerate(rejects):
        if size and size + len(reject.raw) > _BATCH_BYTES:
            yield rejects[start:place]
            start, size = place, 0
        size += len(reject.raw) + MAX_REASON_CHARS
    if start < len(rejects):
        yield rejects[start:]
