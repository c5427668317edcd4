"""A history of a size: runs, jobs, attempts, dead letters, audit entries, as months of work leave them.

Written by MariaDB itself out of its sequence tables: a million jobs in about a minute.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, Engine, text

KINDS = ("import", "keyed", "free", "finishing")
_DIE = "ELT(1 + n MOD 4, 'import', 'keyed', 'free', 'finishing')"
_HASH = f"""SHA2(CONCAT('["', {_DIE}, '","table_', n MOD 500, '"]'), 256)"""
"""As `runstate.documents.admission_hash` makes it."""
_ID = "CONCAT(LPAD(HEX(CRC32(CONCAT('r', n))), 8, '0'), '-0000-4000-8000-', LPAD(HEX(n), 12, '0'))"
LARGE = "11111111-0000-4000-8000-000000000001"
"""An active run with half of all jobs."""
ARGS = json.dumps(
    {"source": "/data/flights.csv", "target": "flights", "mode": "insert", "key": [], "password": "hunter2"}
)
PAYLOAD = json.dumps({"start": 1000, "end": 2000})
TRACEBACK = (
    "Traceback (most recent call last):\n"
    + '  File "tasks/imports/writer.py", line 88, in write\n    load(rows)\n' * 20
)

PAGES = {
    "overview": "",
    "runs": "runs",
    "runs, failed": "runs?status=failed",
    "runs, active": "runs?status=active",
    "runs, kind and day": "runs?kind=import&time=24h",
    "runs, key": "runs?key=table_7",
    "runs, text": "runs?text=rejects",
    "runs, text that none has": "runs?text=nowhere",
    "runs, last finished": "runs?sort=finished",
    "runs, last finished of a kind": "runs?sort=finished&kind=import&status=failed",
    "run with half of the jobs": f"runs/{LARGE}",
    "dead letters": "dead-letters",
    "dead letters, one kind": "dead-letters?kind=free",
    "dead letters, one class": "dead-letters?error_class=TimeoutError",
    "dead letters, none matches": "dead-letters?error_class=Nothing",
    "dead letters, all": "dead-letters?status=all",
    "dead letters, replaying": "dead-letters?status=replaying",
    "one letter": "dead-letters/500",
    "replay all: what will happen": "dead-letters/replay?all=1",
    "discard all: what will happen": "dead-letters/discard?all=1",
    "cancel: what will happen": f"runs/{LARGE}/cancel",
    "locks and limits": "locks",
    "audit": "audit",
    "audit of one": "audit?actor=anna",
    "audit, an action that none did": "audit?action=nothing",
    "metrics": "metrics",
}
"""What the pages are asked for, by what that is."""
COMMANDS = (
    "health",
    "queues",
    "runs list",
    "runs list --status failed",
    "runs list --key table_7",
    f"runs show {LARGE}",
    f"runs explain {LARGE}",
    "dead-letters list",
    "dead-letters list --kind free",
    "dead-letters list --group",
    "dead-letters discard --all --dry-run",
    "limits",
    "locks",
)


def fill(engine: Engine, *, jobs: int, letters: int, runs: int) -> None:
    """Fill empty tables."""
    steps = (
        lambda c: _runs(c, runs),
        lambda c: _large_run(c, jobs // 2),
        lambda c: _jobs_of_runs(c, runs, jobs - jobs // 2),
        lambda c: _attempts(c, jobs),
        lambda c: _letters(c, letters, runs),
        lambda c: _audit(c, 20_000),
        lambda c: c.execute(text("ANALYZE TABLE runs, jobs, job_attempts, dead_letters, audit_log")),
    )
    for step in steps:
        with engine.connect() as connection:
            connection.execute(text("SET SESSION unique_checks = 0, SESSION foreign_key_checks = 0"))
            step(connection)
            connection.commit()


def _runs(connection: Connection, runs: int) -> None:
    """The newest first hour by hour; one in forty failed, twenty active at the end."""
    connection.execute(
        text(
            "INSERT INTO runs (run_id, kind, admission_key, admission_hash, status, args, jobs_total,"
            " jobs_done, jobs_dead,"
            " requested_at, requested_by, started_at, heartbeat_at, progress_at, finished_at, reason, fence)"
            f" SELECT LOWER({_ID}), {_DIE}, CONCAT('table_', n MOD 500), {_HASH},"
            " CASE WHEN n <= 20 THEN 'running' WHEN n <= 24 THEN 'paused' WHEN n <= 28 THEN 'requested'"
            "  WHEN n MOD 40 = 0 THEN 'failed' WHEN n MOD 90 = 1 THEN 'cancelled' WHEN n MOD 25 = 3"
            " THEN 'refused' ELSE 'completed' END,"
            " :args, 50, IF(n <= 20, 20, 48), IF(n <= 20, 0, 2), at, CONCAT('web', n MOD 4,"
            " '.example'), at, at + INTERVAL 55 SECOND,"
            " at + INTERVAL 50 SECOND, IF(n <= 28, NULL, at + INTERVAL 60 SECOND),"
            " IF(n MOD 40 = 0, 'too many rejects: 1,204 of 50,000 rows', NULL), n"
            " FROM (SELECT seq AS n, NOW(6) - INTERVAL seq * 5 SECOND AS at FROM seq_1_to_4000000"
            " WHERE seq <= :runs) numbered"
        ),
        {"runs": runs, "args": ARGS},
    )


def _large_run(connection: Connection, jobs: int) -> None:
    connection.execute(
        text(
            "INSERT INTO runs (run_id, kind, admission_key, admission_hash, status, args, jobs_total,"
            " jobs_done, jobs_dead,"
            " requested_at, requested_by, started_at, heartbeat_at, progress_at, fence) VALUES (:id,"
            " 'import', 'flights',"
            " SHA2('flights', 256), 'running', :args, :jobs, :done, 1000, NOW(6) - INTERVAL 3 HOUR, 'shop', NOW(6) -"
            " INTERVAL 3 HOUR, NOW(6), NOW(6), 7)"
        ),
        {"id": LARGE, "args": ARGS, "jobs": jobs, "done": jobs // 2},
    )
    connection.execute(
        text(
            "INSERT INTO jobs (run_id, job_no, role, state, payload, claims, attempts, due_at,"
            " queued_at, lease_until, claimed_at,"
            " worker, claim_token) SELECT :id, seq, 'work',"
            " CASE WHEN seq <= :done THEN 'done' WHEN seq <= :done + 1000 THEN 'dead' WHEN seq <="
            " :done + 1004 THEN 'running'"
            "  WHEN seq <= :done + 1030 THEN 'queued' ELSE 'pending' END, :payload, 1, 1,"
            " NOW(6) - INTERVAL 20 MINUTE + INTERVAL seq MICROSECOND, NOW(6), NOW(6) + INTERVAL 1 DAY,"
            " NOW(6), 'imports0@a', 't'"
            " FROM seq_1_to_4000000 WHERE seq <= :jobs"
        ),
        {"id": LARGE, "jobs": jobs, "done": jobs // 2, "payload": PAYLOAD},
    )


def _jobs_of_runs(connection: Connection, runs: int, jobs: int) -> None:
    per_run = max(1, jobs // runs)
    connection.execute(
        text(
            "INSERT INTO jobs (run_id, job_no, role, state, payload, claims, attempts, due_at)"
            f" SELECT LOWER({_ID}), j.seq, 'work', IF(n <= 28 AND j.seq > 20, 'pending', 'done'), :payload, 1, 1,"
            " NOW(6) - INTERVAL n * 5 SECOND FROM (SELECT seq AS n FROM seq_1_to_4000000 WHERE seq <= :runs) r"
            " JOIN seq_1_to_4000000 j ON j.seq <= :per_run"
        ),
        {"runs": runs, "per_run": per_run, "payload": PAYLOAD},
    )


def _attempts(connection: Connection, jobs: int) -> None:
    """One for each job; those of the large run within three hours, the others by their run's time."""
    connection.execute(
        text(
            "INSERT INTO job_attempts (run_id, job_no, claim_no, worker, started_at, duration_ms,"
            " peak_memory_kb, outcome,"
            " error_class, error) SELECT j.run_id, j.job_no, 1, CONCAT('imports', j.job_no MOD 4, '@host'),"
            " IF(j.run_id = :id, NOW(6) - INTERVAL 10800 * (1 - j.job_no / :large) SECOND,"
            "  r.requested_at + INTERVAL j.job_no SECOND), 400 + j.job_no MOD 900, 40000 + j.job_no MOD 9000,"
            " CASE WHEN j.job_no MOD 97 = 0 THEN 'retry' WHEN j.job_no MOD 991 = 0 THEN 'dead' ELSE 'done' END,"
            " IF(j.job_no MOD 97 = 0, 'TimeoutError', NULL), IF(j.job_no MOD 97 = 0, 'the source did not answer', NULL)"
            " FROM jobs j JOIN runs r ON r.run_id = j.run_id WHERE j.state = 'done' LIMIT :jobs"
        ),
        {"id": LARGE, "large": jobs // 4, "jobs": jobs},
    )


def _letters(connection: Connection, letters: int, runs: int) -> None:
    """Three hundred troubles, the first of them half of all."""
    trouble = "IF(n MOD 2, 1, n MOD 300)"
    payload = json.dumps({"start": 1, "end": 2, "api_key": "k-9f", "rows": ["x" * 40] * 8})
    connection.execute(
        text(
            "INSERT INTO dead_letters (run_id, job_no, kind, payload, error_class, error, traceback,"
            " attempts, fingerprint, status,"
            f" first_failed_at, created_at) SELECT LOWER({_ID.replace('n)', f'29 + n MOD {runs - 29})')}), 100000 + n,"
            f" ELT(1 + {trouble} MOD 4, 'import', 'keyed', 'free', 'finishing'), :payload,"
            f" ELT(1 + {trouble} MOD 5, 'ValueError', 'TimeoutError', 'Permanent', 'OperationalError', 'worker_lost'),"
            f" CONCAT('trouble ', {trouble}, ': row ', n, ' cannot be read'), :traceback, 8,"
            f" LEFT(SHA2({trouble}, 256), 16), 'dead',"
            " NOW(6) - INTERVAL :letters - n + 60 SECOND, NOW(6) - INTERVAL :letters - n SECOND"
            " FROM (SELECT seq AS n FROM seq_1_to_4000000 WHERE seq <= :letters) x"
        ),
        {"letters": letters, "payload": payload, "traceback": TRACEBACK},
    )


def _audit(connection: Connection, entries: int) -> None:
    connection.execute(
        text(
            "INSERT INTO audit_log (at, actor, action, subject, reason, before_state, after_state)"
            f" SELECT NOW(6) - INTERVAL n MINUTE, ELT(1 + n MOD 3, 'anna', 'bert', 'system'), ELT(1 + n"
            f" MOD 3, 'pause', 'resume',"
            f" 'cancel'), LOWER({_ID}), 'the shop closes for the night', :running, :paused"
            " FROM (SELECT seq AS n FROM seq_1_to_4000000 WHERE seq <= :entries) x"
        ),
        {"entries": entries, "running": '{"status":"running"}', "paused": '{"status":"paused"}'},
    )
