"""Producers: processes that call ``.delay()`` when told to, and say how long it took.

``python -m tests.e2e.faults_producer`` answers each line of JSON on its standard input with one on its standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from stack.layout import PROJECT
from stack.plan import STACK_MARK


@dataclass(frozen=True, slots=True)
class Started:
    """One call of ``.delay()``: its run id or its error, and the seconds until it returned."""

    run_id: str | None
    error: str | None
    seconds: float


class Producer:
    """A producer process; `ask` and `answer` are apart so that several can work at once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.faults_producer"],
            cwd=PROJECT,
            # Not marked as one of the stack's: it would be ended with what a test leaves behind.
            env={name: value for name, value in environment.items() if name != STACK_MARK},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def start(self, kind: str, /, **kwargs: Any) -> str:
        """Start one run of ``kind``; its id."""
        self.ask(kind, 1, **kwargs)
        (started,) = self.answer()
        assert started.run_id is not None, started.error
        return started.run_id

    def ask(self, kind: str, times: int, /, **kwargs: Any) -> None:
        """Have it call ``start_<kind>.delay(**kwargs)`` so many times."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"kind": kind, "times": times, "kwargs": kwargs}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> list[Started]:
        """What the calls that were asked for came to; waits for them."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the producer ended with {self._process.wait()}"
        return [Started(**found) for found in json.loads(line)]


def main() -> int:
    """Answer until the standard input ends."""
    import tasks

    for line in sys.stdin:
        order = json.loads(line)
        start = getattr(tasks, f"start_{order['kind']}")
        answers = []
        for _ in range(order["times"]):
            run_id = error = None
            began = time.monotonic()
            try:
                run_id = start.delay(**order["kwargs"]).run_id
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}"
            answers.append({"run_id": run_id, "error": error, "seconds": time.monotonic() - began})
        print(json.dumps(answers), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
