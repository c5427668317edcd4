"""An import of generated rows into a table without a unique key, and what it must come to whatever broke meanwhile."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.e2e.faults_database import Database
from tests.e2e.faults_producer import Producer
from tests.e2e.harness import wait_until

TABLE = "CREATE TABLE {name} (n BIGINT NOT NULL, label VARCHAR(60) NOT NULL, amount DECIMAL(12, 2) NOT NULL)"


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A claim that was taken from its worker: when it was put back, and when the next one began."""

    job_no: int
    outcome: str
    put_back_at: datetime
    claimed_again_at: datetime


@dataclass(slots=True)
class Found:
    """What a run came to; ``problems`` is empty if every promise held."""

    status: str
    rows: int
    distinct: int
    jobs: int
    claims: int
    crashes: int
    lost_nodes: int
    dead_letters: int
    lost: list[LostClaim] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def pick_up_s(self, back_at: datetime) -> float:
        """Seconds from ``back_at`` until the last claim lost after it was lost was claimed again; 0.0 if none was lost."""
        return max(((claim.claimed_again_at - back_at).total_seconds() for claim in self.lost), default=0.0)


class GeneratedImport:
    """``rows`` seeded rows as a CSV file, and the table for them."""

    def __init__(self, database: Database, directory: Path, *, rows: int, seed: int, jobs: int) -> None:
        self.database = database
        self.rows = rows
        self.table = f"rows_{seed}"
        self.path = directory / f"{self.table}.csv"
        self._checksum = self._write(seed)
        self.chunk_bytes = self.path.stat().st_size // jobs + 1
        self.run_id = ""
        database.rows(f"DROP TABLE IF EXISTS {self.table}")
        database.rows(TABLE.format(name=self.table))

    def start(self, producer: Producer, kind: str = "quick_import") -> str:
        """Start it; the run's id."""
        self.run_id = producer.start(
            kind, source=str(self.path), target=self.table, key=[], mode="insert", chunk_bytes=self.chunk_bytes
        )
        return self.run_id

    def status(self) -> str:
        """The run's status."""
        return str(self.database.value("SELECT status FROM runs WHERE run_id = %s", self.run_id))

    def jobs_done(self) -> int:
        """How many chunks are in."""
        return int(self.database.value("SELECT jobs_done FROM runs WHERE run_id = %s", self.run_id))

    def claims_since(self, moment: datetime) -> int:
        """How many jobs have been claimed since."""
        return int(
            self.database.value("SELECT COUNT(*) FROM jobs WHERE run_id = %s AND claimed_at > %s", self.run_id, moment)
        )

    def first_claim_s(self, moment: datetime) -> float:
        """Seconds until a job was claimed after ``moment``; 0.0 if none has been."""
        first = "SELECT MIN(started_at) FROM job_attempts WHERE run_id = %s AND started_at > %s"
        found = self.database.value(first, self.run_id, moment)
        return 0.0 if found is None else float((found - moment).total_seconds())

    def ended_since(self, moment: datetime) -> int:
        """How many attempts have been recorded since."""
        ended = "SELECT COUNT(*) FROM job_attempts WHERE run_id = %s AND started_at + INTERVAL duration_ms * 1000 MICROSECOND > %s"
        return int(self.database.value(ended, self.run_id, moment))

    def wait_done(self, jobs: int, timeout_s: float = 60.0) -> None:
        """Wait until so many chunks are in."""
        wait_until(lambda: self.jobs_done() >= jobs, timeout_s, f"{jobs} chunks of run {self.run_id}")

    def wait_ended(self, timeout_s: float = 100.0) -> Found:
        """Wait until the run has ended, and look at everything that was promised."""
        ended = "SELECT finished_at IS NOT NULL FROM runs WHERE run_id = %s"
        wait_until(lambda: self.database.value(ended, self.run_id), timeout_s, f"run {self.run_id} to end")
        return self.found()

    def found(self) -> Found:
        """Rows against the file, counters against the ledger."""
        run = self.database.record(
            "SELECT status, jobs_total, jobs_done, jobs_dead, jobs_cancelled,"
            " JSON_VALUE(result, '$.inserted') AS inserted FROM runs WHERE run_id = %s",
            self.run_id,
        )
        ledger = self.database.record(
            "SELECT COUNT(*) AS jobs, SUM(state = 'done') AS done, SUM(state = 'dead') AS dead,"
            " SUM(JSON_VALUE(result, '$.inserted')) AS inserted FROM jobs WHERE run_id = %s AND role = 'work'",
            self.run_id,
        )
        every = self.database.record(
            "SELECT SUM(claims) AS claims, SUM(crashes) AS crashes, SUM(lost_nodes) AS lost_nodes"
            " FROM jobs WHERE run_id = %s",
            self.run_id,
        )
        rows, distinct, checksum = self.database.row(
            f"SELECT COUNT(*), COUNT(DISTINCT n), COALESCE(SUM(CRC32(CONCAT_WS(',', n, label, amount))), 0) FROM {self.table}"
        )
        done_twice = self.database.rows(
            "SELECT job_no FROM job_attempts WHERE run_id = %s AND outcome = 'done' GROUP BY job_no HAVING COUNT(*) > 1",
            self.run_id,
        )
        letters = self.database.value("SELECT COUNT(*) FROM dead_letters WHERE run_id = %s", self.run_id)
        found = Found(
            status=run["status"],
            rows=rows,
            distinct=distinct,
            jobs=int(ledger["jobs"]),
            claims=int(every["claims"]),
            crashes=int(every["crashes"]),
            lost_nodes=int(every["lost_nodes"]),
            dead_letters=letters,
            lost=self._lost_claims(),
        )
        expected: dict[str, tuple[Any, Any]] = {
            "status": (run["status"], "completed"),
            "rows": (rows, self.rows),
            "distinct rows": (distinct, self.rows),
            "checksum of the rows": (int(checksum), self._checksum),
            "jobs_total": (run["jobs_total"], ledger["jobs"]),
            "jobs_done": (run["jobs_done"], ledger["done"]),
            "jobs done": (ledger["done"], ledger["jobs"]),
            "jobs_dead": (run["jobs_dead"], 0),
            "jobs_cancelled": (run["jobs_cancelled"], 0),
            "inserted, as the jobs say": (int(ledger["inserted"] or 0), self.rows),
            "inserted, as the run says": (int(run["inserted"] or 0), self.rows),
            "jobs done twice": (done_twice, []),
            "dead letters": (letters, 0),
        }
        found.problems = [f"{what}: {is_!r}, not {be!r}" for what, (is_, be) in expected.items() if is_ != be]
        return found

    def _lost_claims(self) -> list[LostClaim]:
        rows = self.database.rows(
            "SELECT a.job_no, a.outcome, a.started_at + INTERVAL a.duration_ms * 1000 MICROSECOND, b.started_at"
            " FROM job_attempts a JOIN job_attempts b USING (run_id, job_no) WHERE a.run_id = %s"
            " AND a.outcome IN ('crashed', 'lost') AND b.claim_no = a.claim_no + 1 ORDER BY 3",
            self.run_id,
        )
        return [LostClaim(*row) for row in rows]

    def _write(self, seed: int) -> int:
        rng = random.Random(seed)
        checksum = 0
        with self.path.open("w", encoding="utf-8") as file:
            file.write("n,label,amount\n")
            for n in range(self.rows):
                row = f"{n},row {rng.getrandbits(64):016x} of {seed},{rng.randrange(10**9) / 100:.2f}"
                checksum += zlib.crc32(row.encode())
                file.write(row + "\n")
        return checksum
