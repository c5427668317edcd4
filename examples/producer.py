"""The smallest producers: four lines that start an import, and what a web application wants besides.

``python -m examples.producer delay|enqueue|admit FILE`` imports a catalogue (see `examples.catalogue`) in that way.
"""

from __future__ import annotations

import sys

from sqlalchemy import Engine, text

from examples.catalogue import CREATE_TABLE, KEY, TABLE
from tasks import admit, clients, start_import
from tasks.errors import BadArguments, DatabaseDown, RunRefused

CREATE_UPLOADS = """
CREATE TABLE IF NOT EXISTS demo_uploads (
    path   VARCHAR(500) NOT NULL,
    run_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""


def start(path: str) -> str:
    """Start an import; the run's id.  Once this has returned, the run is in MySQL and will end in one of the known ways."""
    run_id: str = start_import.delay(path, TABLE, key=KEY).run_id
    return run_id


def start_with_upload(engine: Engine, path: str) -> str:
    """Record an upload and start its import in one transaction: both happen, or neither."""
    with engine.begin() as connection:
        run_id: str = start_import.enqueue(connection, path, TABLE, key=KEY).run_id
        connection.execute(
            text("INSERT INTO demo_uploads (path, run_id) VALUES (:path, :run_id)"), {"path": path, "run_id": run_id}
        )
    # No message is sent here: the dispatcher sends it within a second of the commit.
    return run_id


def answer_request(path: str) -> tuple[int, dict[str, str]]:
    """What a web handler answers: status and body.  `admit` decides at once, in this process."""
    try:
        started = admit("import", source=path, target=TABLE, key=KEY)
    except BadArguments as error:
        return 400, {"error": str(error)}
    except RunRefused as refused:
        return 409, {"error": refused.reason, "active_run": refused.active_run_id}
    except DatabaseDown as error:
        return 503, {"error": str(error)}
    return 202, {"run": started.run_id}


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in ("delay", "enqueue", "admit"):
        print("usage: python -m examples.producer delay|enqueue|admit FILE", file=sys.stderr)
        return 2
    way, path = arguments
    with clients.engine().begin() as connection:
        connection.execute(text(CREATE_TABLE))
        connection.execute(text(CREATE_UPLOADS))
    if way == "admit":
        print(*answer_request(path))
    else:
        print(start(path) if way == "delay" else start_with_upload(clients.engine(), path))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
