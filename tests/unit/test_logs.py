"""A log line says which run and job it is about; as JSON, one object a line."""

from __future__ import annotations

import json
import logging

from tasks.logs import JsonFormatter, bound


def line(message: str = "hello", *args: object, **extra: object) -> dict[str, object]:
    record = logging.LogRecord("holdfast.x", logging.INFO, "f", 1, message, args, None)
    record.__dict__.update(extra)
    found: dict[str, object] = json.loads(JsonFormatter().format(record))
    return found


def test_what_is_bound_is_on_every_line_and_no_further() -> None:
    """Also when bound within another; afterwards it is gone."""
    with bound(run_id="r", kind="import"):
        with bound(job_no=3):
            assert line().items() >= {"run_id": "r", "kind": "import", "job_no": 3}.items()
        assert "job_no" not in line()
    assert "run_id" not in line()


def test_fields_and_text_survive_json() -> None:
    """Line ends in a message stay within their line; fields of a record are fields of the object."""
    found = line("two\nlines %s", "ü", fields={"duration_ms": 12})
    assert (found["message"], found["duration_ms"], found["level"]) == ("two\nlines ü", 12, "info")
    assert "\n" not in JsonFormatter().format(logging.LogRecord("x", 20, "f", 1, "a\nb", (), None))


def test_an_error_brings_its_traceback() -> None:
    """As text of one field."""
    try:
        raise ValueError("no")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), (ValueError, error, error.__traceback__))
    assert "ValueError: no" in json.loads(JsonFormatter().format(record))["error"]
